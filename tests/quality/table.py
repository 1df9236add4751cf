"""The table that compares detectors and rivals, a row each, in docs/detectors.md."""

from collections.abc import Mapping, Sequence
from typing import Final

Cells = Mapping[str, str]
"""What one contestant has under the heads of the table; what is not there was not measured now."""

NAME: Final = "detector"
EMPTY: Final = "-"


def begin(name: str) -> str:
    """Return the line of a page above the table of this name."""
    return f"<!-- {name}: begin, written by make quality -->"


def end(name: str) -> str:
    """Return the line of a page below the table of this name."""
    return f"<!-- {name}: end -->"


def read_table(page: str, name: str) -> dict[str, dict[str, str]]:
    """Return the rows that stand between the markers of `name`: cells by head, by the first cell of the row."""
    lines = page.partition(begin(name))[2].partition(end(name))[0].strip().splitlines()
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    if len(rows) < 3:
        return {}
    heads = rows[0][1:]
    return {row[0]: dict(zip(heads, row[1:], strict=False)) for row in rows[2:]}


def merged(
    old: Mapping[str, Cells], new: Mapping[str, Cells], order: Sequence[str], heads: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return the rows in `order`: what is measured now, and of all else what stood there before."""
    rows = {}
    for name in order:
        cells = {**old.get(name, {}), **new.get(name, {})}
        if cells:
            rows[name] = {head: cells.get(head, EMPTY) for head in heads}
    return rows


def markdown(rows: Mapping[str, Cells], heads: Sequence[str], name: str = NAME) -> str:
    """Return the table as Markdown."""
    lines = ["| " + " | ".join((name, *heads)) + " |", "|-" * (len(heads) + 1) + "|"]
    lines += ["| " + " | ".join((first, *(cells[head] for head in heads))) + " |" for first, cells in rows.items()]
    return "\n".join(lines)


def replace_table(page: str, name: str, text: str) -> str:
    """Return `page` with `text` between the markers of `name`. Raises ValueError where it has none."""
    before, marker, rest = page.partition(begin(name))
    if not marker or end(name) not in rest:
        raise ValueError(f"the page has no place for the table: a line {begin(name)!r} and a line {end(name)!r}")
    return before + f"{begin(name)}\n{text}\n{end(name)}" + rest.partition(end(name))[2]

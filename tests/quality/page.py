"""The tables of docs/detectors.md, renewed from what a run has measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectors import DETECTORS
from tests.quality import cost, kinds, known_truth, labelled, table, whole
from tests.quality.contestants import NAMES

COMPARISON = (*labelled.HEADS, *known_truth.HEADS, *cost.HEADS)


class Page:
    """The page; `written` are the tables that this run made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[str, str] = {}

    @property
    def written(self) -> list[str]:
        """The text of the tables that were renewed."""
        return list(self._written.values())

    def write_comparison(self, cells: Mapping[str, Mapping[str, str]]) -> None:
        """Renew the cells that are measured. Raises ValueError where the page has no place for them."""
        old = table.read_table(self._path.read_text(encoding="utf-8"), "quality")
        rows = table.merged(
            old, {_title(name): each for name, each in cells.items()}, [*map(_title, NAMES)], COMPARISON
        )
        self._write("quality", table.markdown(rows, COMPARISON))

    def write_kinds(self, found: Mapping[Any, Any], seed: int) -> None:
        """Write what came of many kinds of series, and the promises. Raises ValueError."""
        parts = [(part, found[part]) for part in kinds.PARTS if part in found]
        rows = kinds.cells(parts)
        filled = {name: {head: cells.get(head, table.EMPTY) for head in kinds.HEADS} for name, cells in rows.items()}
        self._write("kinds", table.markdown(filled, kinds.HEADS, "kind"))
        promises = [*kinds.promises(parts), *whole.promises(found)]
        lines = {what: {"kept": f"{kept} of {count}"} for what, kept, count in promises}
        self._write("promises", table.markdown(lines, ("kept",), f"promise, seed {seed}"))

    def _write(self, name: str, text: str) -> None:
        page = self._path.read_text(encoding="utf-8")
        self._path.write_text(table.replace_table(page, name, text), encoding="utf-8")
        self._written[name] = text


def _title(name: str) -> str:
    return f"`{name}`" if name in DETECTORS else name

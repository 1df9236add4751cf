"""What the sections of the page are made of."""

from collections.abc import Iterable, Sequence
from typing import Final

from detectors.types import Key
from exporter.report.html import Html, tag

_MOST_ROWS: Final = 100
_LONGEST: Final = 120


def section(title: str, *parts: str) -> Html:
    """Return a part of the page under a heading."""
    return tag("section", tag("h2", title), *parts)


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[Html]:
    """Yield a table, which a phone shows as one card a row, and a word about rows left out."""
    head = tag("tr", *(tag("th", name) for name in names))
    body = [tag("tr", *map(_cell, names, row)) for row in rows[:_MOST_ROWS]]
    yield tag("table", tag("thead", head), tag("tbody", *body))
    if len(rows) > _MOST_ROWS:
        yield tag("p", f"{len(rows) - _MOST_ROWS:,} more rows are left out.", class_="quiet")


def labels(key: Key) -> list[str]:
    """Return an entity's labels, one element each."""
    if not key:
        return ["the only series"]
    return [tag("code", _clipped(f"{name}={value}")) for name, value in key]


def _cell(name: str, content: str) -> Html:
    return tag("td", content, data_label=name, class_="" if content else "empty")


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def figure(found: tuple[float, float] | None) -> str:
    """Return a figure at the end of the period, in brackets what it was before; "" where there is none."""
    if found is None:
        return ""
    before, now = (f"{number:.2f}".removesuffix(".00") for number in found)
    return now if before == now else f"{now} ({before})"

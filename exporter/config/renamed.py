"""Keys and values that had another name in version 0.1: each is an error that names the new one.

The table is also the one in `docs/migration.md`; a test holds them equal.
"""

from typing import Final, NamedTuple

from exporter.config.nodes import Place


class Renamed(NamedTuple):
    """A key or value of version 0.1 and what it is called now; `*` stands for a name that the user chose."""

    old: tuple[str, ...]
    new: str
    note: str = ""


RENAMED: Final = (
    Renamed(("jobs", "*", "line"), "false_alarms"),
    Renamed(("jobs", "*", "publish", "blame"), "contribution"),
    Renamed(("alerting", "receivers", "*", "notices"), "rate_limit", "with count for most, interval for window"),
    Renamed(("notify", "notices"), "rate_limit", "with count for most, interval for window"),
    Renamed(("train", "held_back"), "holdout"),
)


def renamed(place: Place, value: object = None) -> str | None:
    """Return what the key at `place`, or the `value` of the list at `place`, is called now; None if it never changed.

    Examples
    --------
    >>> renamed(("jobs", "api", "line"))
    "was renamed to 'false_alarms'"
    >>> renamed(("jobs", "api", "publish", 0), "blame")
    "'blame' was renamed to 'contribution'"
    >>> renamed(("jobs", "api", "step"))
    """
    names = tuple(part for part in place if isinstance(part, str))
    for entry in RENAMED:
        note = f", {entry.note}" if entry.note else ""
        if _matches(entry.old, names):
            return f"was renamed to {entry.new!r}{note}"
        if isinstance(value, str) and _matches(entry.old, (*names, value)):
            return f"{value!r} was renamed to {entry.new!r}{note}"
    return None


def _matches(pattern: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return len(pattern) == len(names) and all(p in {"*", name} for p, name in zip(pattern, names, strict=True))

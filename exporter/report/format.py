"""Numbers, times and durations in words for people."""

from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """Write a time for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def lasting(seconds: float) -> str:
    """Write a duration for people, in its two largest units.

    >>> lasting(7500)
    '2 h 5 min'
    """
    minutes = round(seconds / 60)
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [(days, "d"), (hours, "h"), (0 if days else rest, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "less than a minute"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun.

    >>> counted(1, "alert"), counted(2, "entity", "entities")
    ('1 alert', '2 entities')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Write a share of time; only all of it is 100 %, and only nothing 0 %."""
    text = f"{share:.0%}".replace("%", " %")
    if share < 1 and text == "100 %":
        return "over 99 %"
    return "under 1 %" if share > 0 and text == "0 %" else text

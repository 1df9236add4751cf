"""How a text tells when a series reaches its limit: in alerts, which are Go templates, and elsewhere."""

import math
from datetime import UTC, datetime
from typing import Final

from exporter.incident_wording import length, number
from exporter.query_units import Unit

BETWEEN: Final = "reaches {limit} between {early} and {late} UTC, most likely {expected}"
FROM: Final = "reaches {limit} from {early} UTC on, most likely {expected}; it may also stop before"
PERHAPS: Final = "may reach {limit} from {early} UTC on; more likely it stops before"
SOON: Final = "may reach {limit} from {early} UTC on, most likely {expected}"
SINCE: Final = "has been at {limit} or beyond since {early} UTC"
NOT_IN_SIGHT: Final = "does not reach {limit}, as far as its past tells"
LEARNING: Final = "may reach {limit} or not: too little is known of it to say when"
PACE: Final = ", at {pace} an hour"
NOW: Final = "; now {value}"
LAYOUT: Final = "Mon 2 Jan 15:04"
"""How Go writes the times."""


def moment(seconds: float) -> str:
    """Write a time, given in Unix seconds.

    >>> moment(1_764_563_400.0)
    'Mon 1 Dec 04:30'
    """
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%a} {at.day} {at:%b %H:%M}"


def soon(limit: float, early: float, expected: float, now: float, unit: Unit = "") -> str:
    """Write of an incident that its series is near its limit; the times are Unix seconds.

    >>> soon(0.0, 1_764_563_400.0, 1_764_572_400.0, 1_764_536_400.0, "bytes")
    'may reach 0 B from Mon 1 Dec 04:30 UTC on, most likely Mon 1 Dec 07:00'
    """
    pattern = SOON if expected > now else SINCE
    return pattern.format(limit=number(limit, unit), early=moment(early), expected=moment(expected))


def reaches(
    limit: float, early: float, expected: float, late: float, now: float, value: float | None = None, unit: Unit = ""
) -> str:
    """Write when a limit is reached; the ends of the interval and `now` are Unix seconds.

    >>> reaches(1.0, 1_764_563_400.0, 1_764_572_400.0, 1_764_588_600.0, 1_764_536_400.0, 0.9, "ratio")
    'reaches 100% between Mon 1 Dec 04:30 and Mon 1 Dec 11:30 UTC, most likely Mon 1 Dec 07:00, at 1% an hour; now 90%'
    """
    blanks = {"limit": number(limit, unit)}
    for name, end in (("early", early), ("expected", expected), ("late", late)):
        blanks[name] = moment(end) if math.isfinite(end) else ""
    told = "" if value is None else NOW.format(value=number(value, unit))
    if math.isnan(early):
        return LEARNING.format(**blanks) + told
    if math.isinf(early):
        return NOT_IN_SIGHT.format(**blanks) + told
    if expected <= now:
        return SINCE.format(**blanks) + f" ({length(now - early)})" + told
    if math.isinf(expected):
        return PERHAPS.format(**blanks) + told
    text = (FROM if math.isinf(late) else BETWEEN).format(**blanks)
    if value is not None:
        text += PACE.format(pace=number(3600 * (limit - value) / (expected - now), unit))
    return text + told

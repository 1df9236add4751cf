"""How a text tells an incident: one wording for alerts, which are Go templates, and for notifications, written here.

Each phrase is a pattern with blanks. `rules.alerts.incident_text` fills them with actions of a template, the functions
below with text; a test has promtool render the one and compares it with the other.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from exporter.query_units import Unit

WORST: Final = "worst at {at} UTC: {readings}, score {score} (above 1 is anomalous)"
OBSERVED: Final = "observed {value}"
MISSING: Final = "no value"
EXPECTED: Final = ", expected {expected}"
BAND: Final = " (normal: {lower} to {upper})"
AT_LEAST: Final = " (normal: at least {lower})"
AT_MOST: Final = " (normal: at most {upper})"
TOGETHER: Final = " (each value alone is within the band, together they are not)"
SHARE: Final = ", {contribution} of the deviation"
SINCE: Final = "since {start} UTC ({length})"
ABOVE: Final = "{name} {size} standard deviations above usual"
BELOW: Final = "{name} {size} standard deviations below usual"
AWAY: Final = "{name} {size} standard deviations from usual"
CHANCE: Final = "{stream}; by chance {often}"
BESIDE: Final = "{times} x the other {others}{group} (they: {theirs}, usual difference {usual} x)"
APART: Final = "{apart} {side} the other {others}{group} (they: {theirs}, usually {usual})"
OFTEN: Final = "several times an hour"
ONCE: Final = "once in {one}"
MANY: Final = "once in {count} {unit}s"
NEVER: Final = "less than once in 100 years"
INSTEAD: Final = "{limit}{when} would have been normal"
FROM: Final = "from {start} to {end} UTC ({length})"
AFTER: Final = "{length} after {deploy}"
WITH: Final = "with {deploy}"
SOON: Final = 60.0
"""Seconds after a deploy from which on an incident began after it; before, it began with it."""
BETWEEN: Final = "; "
"""Between the channels, and between the sentences."""
ORDER: Final = (
    "vanished", "deploy", "together", "beside", "limit", "worst", "lasting", "companions", "evidence", "flapping",
)  # fmt: skip
"""The sentences of an incident: what changes most what somebody does comes first (docs/decisions/0039)."""
VANISHED: Final = {
    "down": "gone: its target is down",
    "stopped": "gone: it has stopped, while its target is up",
    "replaced": "gone: a sibling has replaced it",
    "finished": "gone: it has finished as it usually does",
}
"""By the reason for which the series has ended."""
ALSO: Final = "at the same time {companions}"
DATED: Final = 43_200.0
"""Seconds that an incident lasts from which on its times are written with their date."""
LARGE: Final = 9999.5
"""From here on a number without a unit has a prefix: 12.35k."""

_SI: Final = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL: Final = ("", "m", "u", "n", "p", "f", "a", "z", "y")
OFTEN_BELOW: Final = 1800.0
WITH_DIGIT: Final = 9.95
"""Standard deviations below which one digit after the point is written."""
SPANS: Final = (
    (36 * 3600.0, 3600.0, "hour"),
    (10 * 86_400.0, 86_400.0, "day"),
    (8 * 604_800.0, 604_800.0, "week"),
    (24 * 2_629_800.0, 2_629_800.0, "month"),
    (100 * 31_557_600.0, 31_557_600.0, "year"),
)
"""Up to how many seconds which unit counts, and its length."""
ONE: Final = {"hour": "an hour", "day": "a day", "week": "a week", "month": "a month", "year": "a year"}
LENGTH: Final = (
    (r"(d [0-9]+h) .*", "${1}"),
    (r"(h [0-9]+m) .*", "${1}"),
    (r"([0-9])m( |$)", "${1}min${2}"),
    (r"([0-9])([a-z])", "${1} ${2}"),
)
"""Replacements in what Prometheus' humanizeDuration writes: 2d 3h 4m 5s becomes 2 d 3 h, and 1m 30s 1 min 30 s."""
WHOLE_MINUTES: Final = (r"(m) [0-9]+s$", "${1}")


def ordered(**sentences: str) -> str:
    """Write the sentences of an incident that there are in the order of `ORDER`, by which they are named.

    >>> ordered(worst="worst at 10:06 UTC: observed 5", deploy="12 min after checkout v1.8.2", together="")
    '12 min after checkout v1.8.2; worst at 10:06 UTC: observed 5'
    """
    found = sorted((name for name, text in sentences.items() if text), key=ORDER.index)
    return BETWEEN.join(sentences[name] for name in found)


def number(value: float, unit: Unit = "") -> str:
    """Write a number with at most four digits, and its unit.

    >>> number(5_368_709_120.0, "bytes"), number(0.0421, "seconds"), number(0.973, "ratio"), number(123_456.0)
    ('5 GiB', '42.1 ms', '97.3%', '123.5k')
    """
    if unit in {"bytes", "bytes per second"}:
        return _bytes(value) + ("/s" if unit == "bytes per second" else "")
    if unit == "seconds":
        return _replaced(_duration(value), LENGTH)
    if unit == "ratio":
        return f"{value * 100:.4g}%"
    return _prefixed(value) if abs(value) >= LARGE else f"{value:.4g}"


def length(seconds: float) -> str:
    """Write how long an incident lasts.

    >>> length(37 * 60 + 12), length(2.5 * 3600), length(45)
    ('37 min', '2 h 30 min', '45 s')
    """
    return _replaced(_duration(float(math.floor(seconds))), (WHOLE_MINUTES, *LENGTH))


def moment(seconds: float, dated: bool = False) -> str:
    """Write a time, given in Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M" if dated else "%H:%M")


def is_dated(start: float, end: float) -> bool:
    """Tell whether the times of an incident, in Unix seconds, are written with their date."""
    return end - start > DATED


def lasting(start: float, end: float | None, now: float) -> str:
    """Write since when an incident is open, or from when to when it was; all in Unix seconds."""
    until = now if end is None else end
    dated, lasted = is_dated(start, until), length(until - start)
    if end is None:
        return SINCE.format(start=moment(start, dated), length=lasted)
    return FROM.format(start=moment(start, dated), end=moment(end, dated), length=lasted)


def after_deploy(seconds: float, deploy: str) -> str:
    """Write how long after a deploy an incident began.

    >>> after_deploy(745.0, "checkout v1.8.2"), after_deploy(-30.0, "checkout v1.8.2")
    ('12 min after checkout v1.8.2', 'with checkout v1.8.2')
    """
    return WITH.format(deploy=deploy) if seconds < SOON else AFTER.format(length=length(seconds), deploy=deploy)


def reading(
    value: float | None,
    expected: float | None = None,
    lower: float | None = None,
    upper: float | None = None,
    contribution: float | None = None,
    unit: Unit = "",
    unusual: bool = True,
) -> str:
    """Write what a channel showed; None where there is no such number.

    A value within its band that is `unusual` all the same is told as that.

    >>> reading(5.0, 1.0, 0.5, 1.5)
    'observed 5, expected 1 (normal: 0.5 to 1.5)'
    """
    text = MISSING if value is None else OBSERVED.format(value=number(value, unit))
    if expected is not None:
        text += EXPECTED.format(expected=number(expected, unit))
    limits: Mapping[str, str] = {
        name: number(limit, unit) for name, limit in (("lower", lower), ("upper", upper)) if limit is not None
    }
    if unusual and value is not None and limits and not is_outside(value, lower, upper):
        text += TOGETHER
    elif len(limits) == 2:
        text += BAND.format(**limits)
    elif limits:
        text += (AT_LEAST if "lower" in limits else AT_MOST).format(**limits)
    if contribution is not None:
        text += SHARE.format(contribution=f"{contribution * 100:.4g}%")
    return text


def stream(name: str, size: float | None, every: float | None, channel: str = "", sided: bool = True) -> str:
    """Write one stream of evidence: how far from usual, and how often so much comes by chance.

    Parameters
    ----------
    name : str
    size : float or None
        In standard deviations of its noise, negative below; None: there is no such number.
    every : float or None
        Seconds between two that come by chance; None: not known.
    channel : str
        The channel that it is about, "" for all.
    sided : bool
        Whether the size has a side.

    >>> stream("10-minute mean", -4.13, 7 * 2_629_800.0)
    '10-minute mean 4.1 standard deviations below usual; by chance once in 7 months'
    """
    text = f"{name} ({channel})" if channel else name
    if size is not None:
        pattern = AWAY if not sided else BELOW if size < 0 else ABOVE
        text = pattern.format(name=text, size=deviations(size))
    return text if every is None else CHANCE.format(stream=text, often=often(every))


def beside(own: float, theirs: float, usual: float, others: int, group: str = "", unit: Unit = "") -> str:
    """Write how an entity lies to the others of its group, and how it usually does.

    Where there is no ratio, as of nothing or of two signs, it is the difference.

    >>> beside(0.408, 0.12, 0.132, 11, "checkout", "seconds")
    '3.4 x the other 11 of checkout (they: 120 ms, usual difference 1.1 x)'
    >>> beside(7.0, 0.0, 0.0, 4)
    '7 above the other 4 (they: 0, usually the same)'
    """
    told = {"others": others, "group": f" of {group}" if group else "", "theirs": number(theirs, unit)}
    if found := ratios(own, theirs, usual):
        times, usually = (number(each) for each in found)
        return BESIDE.format(times=times, usual=usually, **told)
    apart = usual - theirs
    same = abs(apart) <= 1e-9 * max(abs(usual), abs(theirs))
    usually = "the same" if same else f"{number(abs(apart), unit)} {'above' if apart > 0 else 'below'}"
    side = "above" if own >= theirs else "below"
    return APART.format(apart=number(abs(own - theirs), unit), side=side, usual=usually, **told)


def ratios(own: float, theirs: float, usual: float) -> tuple[float, float] | None:
    """Return how many times its peers an entity is, and usually is, to two digits; None where that says nothing.

    >>> ratios(0.408, 0.12, 0.132), ratios(7.0, 0.0, 0.0)
    ((3.4, 1.1), None)
    """
    if not (theirs != 0 and own / theirs >= 0 and usual / theirs > 0):
        return None
    return float(f"{own / theirs:.2g}"), float(f"{usual / theirs:.2g}")


def deviations(size: float) -> str:
    """Write a size in standard deviations, without its sign.

    >>> deviations(-4.13), deviations(61.4), deviations(2.5e7)
    ('4.1', '61', '25M')
    """
    size = abs(size)
    return f"{size:.1f}" if size < WITH_DIGIT else f"{size:.0f}" if size < LARGE else _prefixed(size)


def often(every: float) -> str:
    """Write how often something comes by chance that comes once in `every` seconds.

    >>> [often(each) for each in (60.0, 5 * 3600.0, 3 * 604_800.0, 1e9, 1e12)]
    ['several times an hour', 'once in 5 hours', 'once in 3 weeks', 'once in 32 years', 'less than once in 100 years']
    """
    if every < OFTEN_BELOW:
        return OFTEN
    for longest, seconds, unit in SPANS:
        if every < longest:
            count = max(math.floor(every / seconds + 0.5), 1)
            return MANY.format(count=count, unit=unit) if count > 1 else ONCE.format(one=ONE[unit])
    return NEVER


def instead(
    value: float, lower: float | None, upper: float | None, unit: Unit = "", when: str = "", channel: str = ""
) -> str:
    """Write which value would have been normal, on the side of one that was outside its band; "" within.

    `when` is "this hour" where the limits are those of the hour of the day or week, else "".

    >>> instead(0.7, 0.1, 0.412, "seconds", "this hour")
    'up to 412 ms this hour would have been normal'
    >>> instead(3.0, 8.0, 12.0)
    'down to 8 would have been normal'
    """
    if upper is not None and value > upper:
        limit = f"up to {number(upper, unit)}"
    elif lower is not None and value < lower:
        limit = f"down to {number(lower, unit)}"
    else:
        return ""
    limit += f" of {channel}" if channel else ""
    return INSTEAD.format(limit=limit, when=f" {when}" if when else "")


def is_outside(value: float, lower: float | None, upper: float | None) -> bool:
    """Tell whether a value is outside its band."""
    return (lower is not None and value < lower) or (upper is not None and value > upper)


def _bytes(value: float) -> str:
    if abs(value) < 1024:
        return f"{value:.4g} B"
    prefixes = iter("KMGTPEZY")
    prefix = ""
    while abs(value) >= 1024 and (more := next(prefixes, None)):
        value, prefix = value / 1024, more
    return f"{value:.4g} {prefix}iB"


def _prefixed(value: float) -> str:
    """Write a number of at least 1 as humanize does."""
    for prefix in _SI[:-1]:
        if abs(value) < 1000:
            return f"{value:.4g}{prefix}"
        value /= 1000
    return f"{value:.4g}{_SI[-1]}"


def _duration(seconds: float) -> str:
    """Write a duration as humanizeDuration does."""
    if seconds == 0:
        return "0s"
    if abs(seconds) < 1:
        for prefix in _SMALL[:-1]:
            if abs(seconds) >= 1:
                return f"{seconds:.4g}{prefix}s"
            seconds *= 1000
        return f"{seconds:.4g}{_SMALL[-1]}s"
    sign, seconds = "-" if seconds < 0 else "", abs(seconds)
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {rest}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {rest}s"
    return f"{sign}{minutes}m {rest}s" if minutes else f"{sign}{seconds:.4g}s"


def _replaced(text: str, replacements: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in replacements:
        text = re.sub(pattern, replacement.replace("${1}", r"\1").replace("${2}", r"\2"), text)
    return text

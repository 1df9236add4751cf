"""The text of a notification: what happened, where, since when, and what is normal, readable at three at night."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from exporter.promql import format_duration
from exporter.redact import printable
from exporter.sinks.notify.notification import Channel, Incident, PendingNotifications

LISTED: Final = 5
"""Incidents of one job listed one by one; more of them are one line, and the worst."""
_WORST: Final = 3
_MOST_LINES: Final = 40
_LONGEST: Final = 300
_RECENT: Final = 43_200.0
_ENDINGS: Final = {
    "recovered": "back to normal",
    "adopted": "not back to normal, but it has lasted so long (max_hold) that it counts as normal from now on",
    "no data": "no data for an hour: it is unknown whether it is over",
    "removed": "no longer evaluated: its job has left the configuration",
}


def compose(pending: PendingNotifications, link: str, now: float) -> str:
    """Return the text of a message on what is pending; `now` in Unix seconds, `link` an address to look at."""
    lines: list[str] = []
    for job, incidents in pending.opened.items():
        lines += _opened(job, incidents, pending, now)
    for job, incidents in pending.over.items():
        lines += _over(job, incidents, now)
    for job, count in pending.passed.items():
        lines.append(f"{job}: {_count(count)} opened and ended before a message could be sent (see the log)")
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"… and {len(lines) - _MOST_LINES} lines more (see the log)"]
    return "\n".join([*lines, link] if link else lines)


def _opened(job: str, incidents: list[Incident], pending: PendingNotifications, now: float) -> Iterator[str]:
    if len(incidents) <= LISTED:
        for incident in incidents:
            yield f"ANOMALY in {job}: {_labels(incident)}"
            yield _figures(incident, now)
        return
    first = min(incident.since for incident in incidents)
    count, entities = pending.open_now[job], pending.entities.get(job, 0)
    yield f"ANOMALY in {job}: {count} of {max(entities, count)} entities, since {_time(first, now)}. The worst:"
    for incident in incidents[:_WORST]:
        yield f"- {_labels(incident)}: {_figures(incident, now)}"


def _over(job: str, incidents: list[Incident], now: float) -> Iterator[str]:
    if len(incidents) <= LISTED:
        for incident in incidents:
            lasted = format_duration(60 * max(round(((incident.over or now) - incident.since) / 60), 1))
            yield f"OVER in {job}: {_labels(incident)}: {_ENDINGS[incident.ending]}, after {lasted}"
        return
    endings = [incident.ending for incident in incidents]
    for ending in dict.fromkeys(endings):
        yield f"OVER in {job}: {_count(endings.count(ending))} {_ENDINGS[ending]}"


def _figures(incident: Incident, now: float) -> str:
    parts = [_channel(channel, len(incident.channels) > 1) for channel in incident.channels[:_WORST]]
    weight = [
        f"{name} {number:.3g}"
        for name, number in (("score", incident.score), ("severity", incident.severity))
        if number is not None
    ]
    return ", ".join([f"{'; '.join(parts)}; since {_time(incident.since, now)}", *weight])


def _channel(channel: Channel, several: bool) -> str:
    text = f"{_clipped(channel.name)} " if several else ""
    text += f"is {_number(channel.observed)}"
    if channel.expected is not None:
        text += f", expected {_number(channel.expected)}"
    if channel.lower is not None or channel.upper is not None:
        low, high = (
            _number(channel.lower) if channel.lower is not None else "",
            (_number(channel.upper) if channel.upper is not None else ""),
        )
        band = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}"
        text += f" (normal: {band})"
    if several and channel.contribution is not None:
        text += f", {channel.contribution:.0%} of the deviation"
    return text


def _labels(incident: Incident) -> str:
    return _clipped(", ".join(f"{name}={value}" for name, value in incident.labels.items()) or "its only series")


def _clipped(text: str) -> str:
    text = printable(text[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _number(number: float | None) -> str:
    return "without a value" if number is None else f"{number:.6g}"


def _count(count: int) -> str:
    return "1 incident" if count == 1 else f"{count} incidents"


def _time(seconds: float, now: float) -> str:
    day = "" if 0 <= now - seconds < _RECENT else "%Y-%m-%d "
    return datetime.fromtimestamp(seconds, UTC).strftime(f"{day}%H:%M UTC")

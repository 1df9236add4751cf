"""The text of a notification: what happened, where, since when, and what is normal, readable at three at night."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from exporter import incident_wording as wording
from exporter.joint_wording import series_told
from exporter.redact import printable
from exporter.sinks.notify.joined import by_joint, head_of, one_of_told
from exporter.sinks.notify.limits import NearLimit
from exporter.sinks.notify.notification import LISTED, Channel, Incident, PendingNotifications

_WORST: Final = 3
_MOST_LINES: Final = 40
_LONGEST: Final = 300
_ENDINGS: Final = {
    "recovered": "back to normal",
    "adopted": "not back to normal, but it has lasted so long (max_hold) that it counts as normal from now on",
    "accepted": "accepted: its level counts as normal from now on",
    "expected": "somebody answered that it is expected: it goes on, unseen as long as it grows no larger",
    "no data": "no data for an hour: it is unknown whether it is over",
    "removed": "no longer evaluated: its job has left the configuration",
}
_FAR: Final = "its limit is not near any more"
_Part = tuple[list[str], int]
"""Lines, and how many incidents they are about."""


def _no_page(_incident: Incident) -> str:
    return ""


def compose(pending: PendingNotifications, link: str, now: float, page: Callable[[Incident], str] = _no_page) -> str:
    """Return the text of a message on what is pending.

    Parameters
    ----------
    pending : PendingNotifications
    link : str
        Where to look, at the end of the message; "" for none.
    now : float
        Unix seconds.
    page : callable taking an Incident
        Returns the address of its page, which follows what is told of it; "" for none.
    """
    parts: list[_Part] = []
    several, alone = by_joint(pending.opened)
    parts += [_joint(members, now) for members in several]
    for job, incidents in alone.items():
        parts += _opened(job, incidents, pending, now, page)
    several, alone = by_joint(pending.over)
    for members in several:
        parts += _over_together(members)
    for job, incidents in alone.items():
        parts += _over(job, incidents, now, page)
    parts += _limits(pending.limits)
    for job, count in pending.passed.items():
        line = f"{job}: {_count(count)} opened and ended before a message could be sent (see the log)"
        parts.append(([line], count))
    lines: list[str] = []
    left_out = 0
    for part, incidents_of_it in parts:
        if left_out or len(lines) + len(part) > _MOST_LINES:
            left_out += incidents_of_it
        else:
            lines += part
    if left_out:
        lines.append(f"… and {left_out} more {'incident' if left_out == 1 else 'incidents'} (see the log)")
    return "\n".join([*lines, link] if link else lines)


def _joint(members: list[Incident], now: float) -> _Part:
    """Tell incidents that are one, which have opened."""
    members = sorted(members, key=lambda each: -(each.severity or 0.0))
    worst = [f"- {series_told(each.job, each.labels)}: {_told(each, now, joint=False)}" for each in members[:_WORST]]
    more = [f"and {len(members) - _WORST} more"] if len(members) > _WORST else []
    others = next((f" {each.companions[0].upper()}{each.companions[1:]}." for each in members if each.companions), "")
    return [f"{head_of(members, now)}{_clipped(others)} The worst:", *map(_clipped, worst), *more], len(members)


def _over_together(members: list[Incident]) -> Iterator[_Part]:
    """Tell the end of incidents that were one."""
    jobs = ", ".join(dict.fromkeys(each.job for each in members))
    endings = [incident.ending for incident in members]
    for ending in dict.fromkeys(endings):
        count = endings.count(ending)
        yield [f"OVER in {_clipped(jobs)}: {_count(count)} that moved together: {_ENDINGS[ending]}"], count


def _opened(
    job: str, incidents: list[Incident], pending: PendingNotifications, now: float, page: Callable[[Incident], str]
) -> Iterator[_Part]:
    if len(incidents) <= LISTED:
        for incident in incidents:
            yield _alone(f"ANOMALY in {job}: {labels_told(incident)}", incident, now, page), 1
        return
    count, new = pending.open_now[job], len(incidents)
    entities = max(pending.entities.get(job, 0), count)
    since = wording.lasting(min(incident.since for incident in incidents), None, now)
    among = "" if count == new else f", {new} of them new"
    head = f"ANOMALY in {job}: {count} of {entities} entities{among}, {since}. The worst:"
    worst = [f"- {labels_told(incident)}: {_told(incident, now)}" for incident in incidents[:_WORST]]
    yield [head, *worst, f"and {new - _WORST} more"], new


def _limits(limits: Sequence[NearLimit]) -> Iterator[_Part]:
    """Tell which series are near their limit, and which are far from it again: some of each job by name."""
    by_kind: dict[tuple[str, bool], list[NearLimit]] = {}
    for each in limits:
        by_kind.setdefault((each.job, each.over), []).append(each)
    for (job, over), some in by_kind.items():
        head = "OVER in" if over else "LIMIT near in"
        lines = [
            f"{head} {job}: {_named(each.labels)}: {_FAR if over else _clipped(each.text)}" for each in some[:LISTED]
        ]
        more = [f"and {len(some) - LISTED} more in {job}"] if len(some) > LISTED else []
        yield [*lines, *more], len(some)


def _over(job: str, incidents: list[Incident], now: float, page: Callable[[Incident], str]) -> Iterator[_Part]:
    if len(incidents) <= LISTED:
        for incident in incidents:
            head = f"OVER in {job}: {labels_told(incident)}: {_ENDINGS[incident.ending]}"
            yield _alone(head, incident, now, page), 1
        return
    endings = [incident.ending for incident in incidents]
    for ending in dict.fromkeys(endings):
        count = endings.count(ending)
        yield [f"OVER in {job}: {_count(count)} {_ENDINGS[ending]}"], count


def _alone(head: str, incident: Incident, now: float, page: Callable[[Incident], str]) -> list[str]:
    address = page(incident)
    return [head, _told(incident, now), *([address] if address else [])]


def _told(incident: Incident, now: float, joint: bool = True) -> str:
    """Return the worst reading, and since when or from when to when it was."""
    until = now if incident.over is None else incident.over
    sentences = _sentences(incident, until) | {
        "lasting": wording.lasting(incident.since, incident.over, now),
        "deploy": _clipped(incident.deployed),
        "limit": _clipped(incident.limit),
    }
    if joint:
        sentences |= {"together": one_of_told(incident, now), "companions": _clipped(incident.companions or "")}
    return wording.ordered(**sentences)


def worst_told(incident: Incident, until: float) -> str:
    """Write the worst reading of an incident that is open at `until`, or ended then; "" where none is known."""
    return wording.ordered(**_sentences(incident, until))


def _sentences(incident: Incident, until: float) -> dict[str, str]:
    """Return the sentences on the worst reading, by the names of `wording.ORDER`."""
    if incident.at is None or incident.score is None:
        return {}
    several = incident.of_channels > 1
    worst = wording.WORST.format(
        at=wording.moment(incident.at, wording.is_dated(incident.since, until)),
        readings=wording.BETWEEN.join(_channel(channel, several) for channel in incident.channels[:_WORST]),
        score=wording.number(incident.score),
    )
    found = {"worst": worst}
    for stream in incident.streams[:1]:
        found["evidence"] = _clipped(stream.told)
        if stream.peers is not None:
            found["beside"] = _clipped(stream.peers.text)
    return found


def normal_instead(incident: Incident) -> str:
    """Write which value would have been normal at the worst reading, "" where it was within its band."""
    several = incident.of_channels > 1
    when = "" if not incident.by_hour else "this hour" if incident.over is None else "at that hour"
    for channel in incident.channels:
        name = _clipped(channel.name) if several else ""
        if channel.observed is not None and (
            text := wording.instead(channel.observed, channel.lower, channel.upper, channel.unit, when, name)
        ):
            return text
    return ""


def _channel(channel: Channel, several: bool) -> str:
    share = channel.contribution if several else None
    told = wording.reading(channel.observed, channel.expected, channel.lower, channel.upper, share, channel.unit)
    return f"{_clipped(channel.name)}: {told}" if several else told


def labels_told(incident: Incident) -> str:
    """Write the labels of an incident's series, the beginning of very long ones."""
    return _named(incident.labels)


def _named(labels: Mapping[str, str]) -> str:
    return _clipped(", ".join(f"{name}={value}" for name, value in labels.items()) or "its only series")


def _clipped(text: str) -> str:
    text = printable(text[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _count(count: int) -> str:
    return "1 incident" if count == 1 else f"{count} incidents"

"""What notifications tell of joint incidents: which there is, of how many series, and which of them moved first."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from detectors.types import Key
from exporter import incident_wording as wording
from exporter.context.joint import Joint
from exporter.joint_wording import one_of, series_told, together
from exporter.sinks.joint_book import Joined
from exporter.sinks.notify.notification import Incident, Together

JoinedOf = Callable[[str], Mapping[Key, Joined]]
"""Returns by series of a job which joint incident it belongs to."""


def note_joint(incidents: Iterable[Incident], joined: JoinedOf) -> None:
    """Note on incidents which joint incident they belong to now; those of whom nothing is known keep what they had."""
    by_job: dict[str, Mapping[Key, Joined]] = {}
    known: dict[str, Together] = {}
    for each in incidents:
        if each.job not in by_job:
            by_job[each.job] = joined(each.job)
        found = by_job[each.job].get(each.key)
        if found is not None and abs(found[0].since - each.since) < 1.0:
            joint = found[1]
            if joint.id not in known:
                known[joint.id] = _told(joint)
            each.joint, each.together = joint.id, known[joint.id]


def _told(joint: Joint) -> Together:
    first = joint.first
    return Together(
        len(joint.members), len({each.job for each in joint.members}), series_told(first.job, first.labels),
        first.moved, dict(joint.shared),
    )  # fmt: skip


def by_joint(by_job: Mapping[str, Sequence[Incident]]) -> tuple[list[list[Incident]], dict[str, list[Incident]]]:
    """Return those of some incidents that belong to one joint incident, two at least, and the rest by job."""
    found: dict[str, list[Incident]] = {}
    for incidents in by_job.values():
        for each in incidents:
            if each.joint:
                found.setdefault(each.joint, []).append(each)
    several = {name: members for name, members in found.items() if len(members) > 1}
    rest = {
        job: alone for job, incidents in by_job.items() if (alone := [e for e in incidents if e.joint not in several])
    }
    return list(several.values()), rest


def head_of(members: Sequence[Incident], now: float) -> str:
    """Write how a message on a joint incident begins."""
    jobs = list(dict.fromkeys(each.job for each in members))
    what = members[0].together or Together(len(members), len(jobs), "", None, {})
    named = ", ".join(jobs[:3]) + (f" and {len(jobs) - 3} more jobs" if len(jobs) > 3 else "")
    count, of_jobs = max(what.count, len(members)), max(what.jobs, len(jobs))
    since = wording.lasting(min(each.since for each in members), None, now)
    text = f"ANOMALY in {named}: {together(count, of_jobs, what.shared)}, {since}."
    if what.first and what.at is not None:
        at = wording.moment(what.at, wording.is_dated(what.at, now))
        text += f" {what.first} moved first, at {at} UTC."
    return text


def one_of_told(incident: Incident, now: float) -> str:
    """Write of how many series that moved together an incident is one; "" where it is alone."""
    what = incident.together
    if what is None or what.count < 2 or what.at is None:
        return ""
    return one_of(what.count, what.first, what.at, now)

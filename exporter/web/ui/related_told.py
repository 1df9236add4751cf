"""What else moved, in one sentence of a message."""

from typing import Final

from exporter import incident_wording as wording
from exporter.joint_wording import series_told
from exporter.sinks.notify.notification import Incident
from exporter.web.ui.facts import Running
from exporter.web.ui.related import related_answer
from exporter.web.ui.related_answers import Companion
from exporter.web.ui.related_routes import moved_of

SURE: Final = 0.1
"""Series that move so much by chance, of all that were compared, up to which a companion is told."""
MOST_TOLD: Final = 2
ALSO: Final = "at the same time {companions}"


def companions_told(running: Running, incident: Incident) -> str:
    """Return which other series moved when an incident began, "" where chance might explain all that did."""
    if incident.job not in running.facts().jobs:
        return ""
    at = moved_of(running, incident.job, incident.key, incident.since)
    answer = related_answer(running, incident.job, incident.key, at)
    joint = running.joint.of(incident.job, incident.key, incident.since)
    told = set() if joint is None else {(each.job, each.key) for each in joint.members}
    sure = [each for each in answer.companions if each.by_chance <= SURE and (each.job, _key(each)) not in told]
    if not sure:
        return ""
    more = f" and {len(sure) - MOST_TOLD} more" if len(sure) > MOST_TOLD else ""
    return ALSO.format(companions=", ".join(map(_told, sure[:MOST_TOLD])) + more)


def _key(each: Companion) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(each.labels.items()))


def _told(each: Companion) -> str:
    name = series_told(each.job, each.labels)
    if each.before is None or each.after is None:
        return f"{name} moved"
    verb = "rose" if each.after > each.before else "fell"
    return f"{name} {verb} from {wording.number(each.before)} to {wording.number(each.after)}"

"""What else moved, in one sentence of a message or an alert."""

from dataclasses import dataclass
from typing import Final

from detectors.types import Key
from exporter import incident_wording as wording
from exporter.joint_wording import series_told
from exporter.web.ui.facts import Running
from exporter.web.ui.related import related_answer
from exporter.web.ui.related_answers import Companion
from exporter.web.ui.related_routes import moved_of

SURE: Final = 0.1
"""Series that move so much by chance, of all that were compared, up to which a companion is told."""
MOST_TOLD: Final = 2


@dataclass(frozen=True, slots=True)
class Companions:
    """Which other series moved when an incident began: how many surely did, and the surest of them in words."""

    count: int
    text: str


NONE: Final = Companions(0, "")


def companions_of(running: Running, job: str, key: Key, since: float) -> Companions:
    """Return which other series moved when the incident of a series began that is open since `since` (Unix seconds).

    Those are left out that are told as part of it, and all whose movement chance might explain.
    """
    if job not in running.facts().jobs:
        return NONE
    answer = related_answer(running, job, key, moved_of(running, job, key, since))
    joint = running.joint.of(job, key, since)
    told = set() if joint is None else {(each.job, each.key) for each in joint.members}
    sure = [each for each in answer.companions if each.by_chance <= SURE and (each.job, _key(each)) not in told]
    if not sure:
        return NONE
    more = f" and {len(sure) - MOST_TOLD} more" if len(sure) > MOST_TOLD else ""
    return Companions(len(sure), ", ".join(map(_told, sure[:MOST_TOLD])) + more)


def companions_told(running: Running, job: str, key: Key, since: float) -> str:
    """Return the same in a sentence, "" where there are none."""
    found = companions_of(running, job, key, since)
    return wording.ALSO.format(companions=found.text) if found.count else ""


def _key(each: Companion) -> Key:
    return tuple(sorted(each.labels.items()))


def _told(each: Companion) -> str:
    name = series_told(each.job, each.labels)
    if each.before is None or each.after is None:
        return f"{name} moved"
    verb = "rose" if each.after > each.before else "fell"
    return f"{name} {verb} from {wording.number(each.before)} to {wording.number(each.after)}"

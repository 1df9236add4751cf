"""What the pages tell of incidents of several series that are one."""

from typing import Final

from exporter import incident_wording as wording
from exporter.context.joint import Joint, Member
from exporter.joint_wording import series_told, together
from exporter.json_values import utc
from exporter.web.ui.identity import link, series_id
from exporter.web.ui.joint_answers import JointIncident, Mover

MOST_MOVERS: Final = 20
"""Series of a joint incident in an answer: those that moved first."""


def joint_answer(joint: Joint | None, now: float) -> JointIncident | None:
    """Return what is told of a joint incident at `now` (Unix seconds), None of one that is a single series'."""
    if joint is None or not joint.is_joint:
        return None
    movers = joint.by_movement
    jobs = list(dict.fromkeys(each.job for each in movers))
    return JointIncident(
        id=joint.id, open=joint.open_count, series=len(movers), jobs=jobs, because=joint.because, shared=joint.shared,
        text=_text(joint, movers[0], len(jobs), now), movers=[_mover(each) for each in movers[:MOST_MOVERS]],
    )  # fmt: skip


def _text(joint: Joint, first: Member, jobs: int, now: float) -> str:
    at = wording.moment(first.moved, wording.is_dated(first.moved, now))
    named = series_told(first.job, first.labels)
    return f"{together(len(joint.members), jobs, joint.shared)}; {named} moved first, at {at} UTC"


def _mover(each: Member) -> Mover:
    return Mover(
        id=series_id(each.job, each.key), job=each.job, labels=each.labels, moved=utc(each.moved),
        since=utc(each.since),
        until=None if each.over is None else utc(each.over), alerted=each.alert,
        # Its page is with the exporter that judges it; where people reach that, nobody here knows.
        link="" if each.elsewhere else link(each.job, each.key, each.since),
        judged_by=(each.replica or "another replica") if each.elsewhere else "",
    )  # fmt: skip

"""What one cycle of one job found: the hand-over from judging to every sink."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from detectors.types import Flags, Floats, Key
from exporter.drift import Drift


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The newest judgement of every entity of a job (E entities, C channels).

    Parameters
    ----------
    job, detector : str
        Name of the job (label `query`) and of its detector (label `detector`).
    time : float
        Unix seconds of the judged sample.
    keys : tuple of Key, length E
        The same object again while the entities stay the same.
    channels : tuple of str, length C
    values, expected, lower, upper : Floats, shape (E, C)
        NaN where there is none.
    blame : Floats, shape (E, C)
        Share by channel of the severity of an incident that is open or just ended, of the score elsewhere; NaN where
        there is none.
    score, severity : Floats, shape (E,)
        Score is NaN for an entity that is warming up or has no fresh sample.
    flag, changed, flapping, alert : Flags, shape (E,)
        Incident open; flag differs from the cycle before; held open because it comes and goes; severity above what the
        job's budget allows.
    since : Floats, shape (E,)
        Unix seconds at which the open incident began, NaN where none is open.
    states : mapping of str to int
        Entities by state: ready, warming, stale, error.
    groups : mapping of Key to float
        anomaly_group_score by group labels; empty where the job has no groups.
    model_version, config_hash : str
        What judged: "" where the detector has no fitted model.
    drift : Drift or None
        A lasting change of the scores that has just become clear.
    """

    job: str
    detector: str
    time: float
    keys: tuple[Key, ...]
    channels: tuple[str, ...]
    values: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    blame: Floats
    score: Floats
    severity: Floats
    flag: Flags
    changed: Flags
    flapping: Flags
    alert: Flags
    since: Floats
    states: Mapping[str, int]
    groups: Mapping[Key, float] = field(default_factory=dict)
    model_version: str = ""
    config_hash: str = ""
    drift: Drift | None = None

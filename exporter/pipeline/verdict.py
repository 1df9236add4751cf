"""What one cycle of one job found: the hand-over from judging to every sink."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.entity_state import decode_keys, decode_text, encode_keys, encode_text
from detectors.types import Flags, Floats, Key, State, Streams
from exporter.context.deploys import Deploy
from exporter.context.endings import Reason
from exporter.pipeline.after_deploy import Caution
from exporter.pipeline.calendar import PLAIN, Meaning
from exporter.pipeline.drift import Drift
from exporter.pipeline.peer_groups import WithoutPeers
from exporter.pipeline.reaches import Reaches
from exporter.pipeline.worst_readings import Readings, no_readings


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
        NaN where there is none. The band agrees with the job's policy; see `normal_band`.
    contribution : Floats, shape (E, C)
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
        Entities by state: ready, warming, stale, error; `empty` is 1 for a job that never had a series.
    groups : mapping of Key to float
        anomaly_group_score by group labels; empty where the job has no groups.
    model_version, config_hash : str
        What judged: "" where the detector has no fitted model.
    drift : Drift or None
        A lasting change of the scores that has just become clear.
    readings : Readings
        The worst reading of every incident that is open or has just ended.
    direction : Floats, shape (E, C), or None
        As in the judgement.
    needed : Floats, shape (E,), or None
        Severity from which the open incident is an alert, infinite where none would be enough; NaN where none is open
        or it was not worked out; None where no incident is open, and in a verdict from before a restart.
    hidden : Flags, shape (E,), or None
        Incidents that are open and left out of all of the above, since somebody answered that they are expected; None
        where there is none.
    calendar : Meaning
        What the job's calendars say about the time.
    streams : Streams or None
        What the newest scores are made of, of the entities whose incident is open or has just ended and is shown; None
        where there is none.
    deploys : mapping of int to tuple of Deploy
        By row the deploys of the owner after which an incident began that is open or has just ended, the newest first.
    vanished : mapping of Key to Reason
        Why entities have ended that are missed, also such as are not among `keys` any more.
    reaches : Reaches or None
        When the entities reach their limit; None for a job without `forecast`.
    caution : Caution or None
        Whose scores were lowered after a deploy; None: nobody's.
    without_peers : WithoutPeers or None
        Entities that should be compared with their peers and have too few; None: there are none.
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
    contribution: Floats
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
    readings: Readings = field(default_factory=no_readings)
    direction: Floats | None = None
    needed: Floats | None = None
    hidden: Flags | None = None
    calendar: Meaning = PLAIN
    streams: Streams | None = None
    deploys: Mapping[int, tuple[Deploy, ...]] = field(default_factory=dict)
    vanished: Mapping[Key, Reason] = field(default_factory=dict)
    reaches: Reaches | None = None
    caution: Caution | None = None
    without_peers: WithoutPeers | None = None


def entity_states(values: Floats, score: Floats) -> dict[str, Flags]:
    """Tell the state of entities: ready with a score, stale without a newest sample, warming with one but no score yet.

    Parameters
    ----------
    values : Floats, shape (..., C)
        The newest samples.
    score : Floats, shape (...)

    Returns
    -------
    dict of str to Flags, shape (...)
        By state. `error` is for those of whom nothing is known; nobody is in it here.
    """
    ready = np.isfinite(score)
    stale = ~ready & np.isnan(values).all(axis=-1)
    return {"ready": ready, "warming": ~ready & ~stale, "stale": stale, "error": np.zeros_like(ready)}


def count_states(values: Floats, score: Floats) -> dict[str, int]:
    """Count entities by state, as `entity_states` tells it."""
    return {state: int(there.sum()) for state, there in entity_states(values, score).items()}


_WIDE: Final = ("values", "expected", "lower", "upper", "contribution")
_NARROW: Final = ("score", "severity", "since")
_FLAGS: Final = ("flag", "flapping", "alert")


def verdict_state(verdict: Verdict) -> State:
    """Return what a page needs of a verdict, as arrays."""
    arrays: State = {name: getattr(verdict, name) for name in (*_WIDE, *_NARROW, *_FLAGS)}
    arrays |= {"keys": encode_keys(verdict.keys), "groups": encode_keys(tuple(verdict.groups))}
    arrays["config_hash"] = encode_text(verdict.config_hash)
    arrays |= {"group_scores": np.array(list(verdict.groups.values()), np.float64), "time": np.array(verdict.time)}
    return arrays | {f"state_{name}": np.array(count) for name, count in verdict.states.items()}


def restored_verdict(state: State, **known: Any) -> Verdict:
    """Return the verdict of `verdict_state`, nothing in it news; `known` are the fields that it does not hold.

    Raises ValueError, KeyError when it is none.
    """
    keys, groups = decode_keys(state["keys"]), decode_keys(state["groups"])
    for name in (*_NARROW, *_FLAGS, *_WIDE):
        if state[name].shape[:1] != (len(keys),):
            raise ValueError(f"the saved verdict has {name} of another shape")
    arrays: dict[str, Any] = {
        name: state[name].astype(np.bool_ if name in _FLAGS else np.float64) for name in (*_WIDE, *_NARROW, *_FLAGS)
    }
    return Verdict(
        time=float(state["time"].astype(np.float64)),
        keys=keys,
        changed=np.zeros(len(keys), np.bool_),
        states={name.removeprefix("state_"): int(at) for name, at in state.items() if name.startswith("state_")},
        config_hash=decode_text(state["config_hash"]),
        groups=dict(zip(groups, state["group_scores"].astype(np.float64).tolist(), strict=True)),
        **arrays,
        **known,
    )

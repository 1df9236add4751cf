"""tsanomaly as its documentation uses it: fitted on the past, then fed sample by sample, alerts from its own line."""

import logging
from typing import Final

import numpy as np
import pandas as pd

from detectors import Flags, Floats
from detectors.units import DAY
from tests.quality.rivals.causal import refits
from tests.quality.rivals.tsb_ad import on_the_path

LINE: Final = 70.0
"""Score of an episode at which the package escalates it to an alert; its default."""
FIRST: Final = 3 * DAY
"""Seconds after which it is fitted: it needs two days to find a rhythm, and a fit takes two seconds."""


def streamed(values: Floats, step: float) -> tuple[Floats, Flags]:
    """Return score (of 70, while an episode is an alert) and flag of an entity, shape (N,), from its channels (C, N).

    An entity is flagged from the escalation of an episode of any channel until its end.
    """
    scores = np.array([_channel(channel, step) for channel in values])
    score = scores.max(axis=0)
    return score, score >= 1


def _channel(values: Floats, step: float) -> Floats:
    on_the_path()
    import tsanomaly
    from tsanomaly.sinks import AlertEvent, CallbackSink

    logging.getLogger("tsanomaly").setLevel(logging.CRITICAL)
    score, nanoseconds = np.zeros(len(values)), round(step * 1e9)
    times = np.arange(len(values), dtype=np.int64) * nanoseconds + 1_700_006_400 * 10**9
    for first, begin, end in refits(len(values), step, first=FIRST):
        open_since: list[tuple[int, float]] = []

        def heard(event: AlertEvent, since: list[tuple[int, float]] = open_since, end: int = end) -> None:
            at = int((event.ts - times[0]) // nanoseconds)
            if event.kind == "escalated":
                since[:] = [(at, event.anomaly.score / LINE)]
            elif event.kind == "closed" and since:
                begun, height = since.pop()
                score[begun:at] = max(height, 1.0)

        detector = tsanomaly.Detector.auto()
        detector.add_sink(CallbackSink(heard))
        known = first + np.flatnonzero(np.isfinite(values[first:begin]))
        if len(known) < 16:
            continue
        frame = {"metric": "m", "timestamp": pd.to_datetime(times[known]), "value": values[known]}
        try:
            detector.fit(pd.DataFrame(frame))
            detector.update([("m", int(times[at]), float(values[at])) for at in range(begin, end)])
            detector.flush()
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):  # it has no verdict then
            continue
        if open_since:
            score[open_since[0][0] : end] = max(open_since[0][1], 1.0)
    return score

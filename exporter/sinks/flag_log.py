"""Flags that changed, one by one in the log and as a count in the metrics."""

from typing import Final

import numpy as np
import structlog

from exporter.observe.job_metrics import JobMetrics
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import EveryVerdict

log = structlog.get_logger()

MAX_LINES: Final = 50
"""Flag changes logged one by one in a cycle; thousands of lines would hide what matters."""


class FlagLog(EveryVerdict):
    """Counts and logs the flags that changed."""

    def __init__(self, metrics: SelfMetrics) -> None:
        self._metrics = metrics

    def record(self, verdict: Verdict) -> None:
        """Count and log the flags that changed in a verdict."""
        opened, closed = verdict.changed & verdict.flag, verdict.changed & ~verdict.flag
        metrics = JobMetrics(self._metrics, verdict.job, verdict.detector)
        metrics.incidents_changed(int(opened.sum()), int(closed.sum()))
        log_flags(verdict)


def log_flags(verdict: Verdict) -> None:
    """Write one line for each flag that changed, and one line for all beyond MAX_LINES."""
    rows = np.flatnonzero(verdict.changed)
    for row in rows[:MAX_LINES]:
        channel = int(np.argmax(verdict.contribution[row])) if len(verdict.channels) > 1 else 0
        opened = bool(verdict.flag[row])
        numbers = {name: getattr(verdict, name)[row, channel] for name in ("expected", "lower", "upper")}
        shares = dict(zip(verdict.channels, map(_short, verdict.contribution[row]), strict=True))
        (log.warning if opened else log.info)(
            "flag",
            job=verdict.job,
            incident="opened" if opened else "closed",
            labels=dict(verdict.keys[row]),
            channel=verdict.channels[channel],
            observed=_short(verdict.values[row, channel]),
            **{name: _short(number) for name, number in numbers.items()},
            score=_short(verdict.score[row]),
            **({"contribution": shares} if len(shares) > 1 else {}),
            **({"flapping": True} if verdict.flapping[row] else {}),
        )
    if len(rows) > MAX_LINES:
        log.warning("flags_not_listed", job=verdict.job, count=len(rows) - MAX_LINES, hint="see the audit file")


def _short(number: float) -> float:
    """Return `number` with the six digits a reader can use."""
    return float(f"{number:.6g}")

"""The form in which verdicts are handed out: what JSON has, None for what is not known."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from exporter.verdict import Verdict


def job(verdict: Verdict | None) -> dict[str, Any] | None:
    """Return how a job stands, None without a verdict."""
    if verdict is None:  # not judged yet, or not for so long that it was withdrawn
        return None
    return {
        "judged": _time(verdict.time),
        "entities": len(verdict.keys),
        "flagged": int(verdict.flag.sum()),
        "alerting": int(verdict.alert.sum()),
        "states": dict(verdict.states),
    }


def entity(verdict: Verdict, row: int, queries: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return what is known of one entity; `queries` is the PromQL by job and channel."""
    score, flag, values = _number(verdict.score[row]), bool(verdict.flag[row]), verdict.values[row]
    expressions = queries.get(verdict.job, {})
    return {
        "query": verdict.job,
        "detector": verdict.detector,
        "labels": dict(verdict.keys[row]),
        "state": "ready" if score is not None else "stale" if np.isnan(values).all() else "warming",
        "score": score,
        "flag": flag,
        "alert": bool(verdict.alert[row]),
        "flapping": bool(verdict.flapping[row]),
        "severity": _number(verdict.severity[row]) if flag else None,
        "since": _time(verdict.since[row]) if flag else None,
        "judged": _time(verdict.time),
        "channels": [
            {
                "channel": channel,
                "expr": expressions.get(channel),
                "observed": _number(values[at]),
                "expected": _number(verdict.expected[row, at]),
                "lower": _number(verdict.lower[row, at]),
                "upper": _number(verdict.upper[row, at]),
                "blame": _number(verdict.blame[row, at]),
            }
            for at, channel in enumerate(verdict.channels)
        ],
    }


def _number(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _time(seconds: float) -> str | None:
    if not math.isfinite(seconds):
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

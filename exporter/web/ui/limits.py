"""Which series near their limit, and when each reaches it, for the pages."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from detectors.types import Flags
from exporter import forecast_wording as wording
from exporter.incident_wording import number
from exporter.json_values import finite, utc
from exporter.pipeline.verdict import Verdict
from exporter.web.ui.answers import LimitNear, Unseen
from exporter.web.ui.facts import Facts, JobFacts
from exporter.web.ui.identity import link, series_id

MOST: Final = 20


def limits_near(facts: Facts, verdicts: Mapping[str, Verdict], now: float) -> tuple[int, list[LimitNear]]:
    """Return how many series may reach their limit within the horizon of their job, and the first of them."""
    found: list[tuple[float, Verdict, int]] = []
    for name, job in facts.jobs.items():
        verdict = verdicts.get(name)
        if verdict is None or verdict.reaches is None or job.config.forecast is None:
            continue
        rows = np.flatnonzero(near(verdict, job.config.forecast.within, now)).tolist()
        found += [(float(verdict.reaches.early[row]), verdict, row) for row in rows]
    found.sort(key=lambda each: each[0])
    return len(found), [_answer(verdict, row, facts.jobs[verdict.job], now) for _, verdict, row in found[:MOST]]


def near(verdict: Verdict, within: float, now: float) -> Flags:
    """Return which series may reach their limit within so many seconds, shape (E,): those that an alert is about."""
    reaches = verdict.reaches
    if reaches is None:
        return np.zeros(len(verdict.keys), np.bool_)
    return (reaches.early <= now + within) & (reaches.expected < np.inf)


def _answer(verdict: Verdict, row: int, job: JobFacts, now: float) -> LimitNear:
    assert verdict.reaches is not None
    ends = (verdict.reaches.early[row], verdict.reaches.expected[row], verdict.reaches.late[row])
    early, expected, late = (None if finite(end) is None else utc(float(end)) for end in ends)
    key = verdict.keys[row]
    return LimitNear(
        id=series_id(verdict.job, key),
        job=verdict.job,
        labels=dict(key),
        early=early,
        expected=expected,
        late=late,
        text=told(verdict, row, job, now),
        link=link(verdict.job, key),
    )


def told(verdict: Verdict, row: int, job: JobFacts, now: float) -> str:
    """Write when a series reaches its limit, "" where its job has none."""
    if (reaches := verdict.reaches) is None:
        return ""
    early, expected, late = (float(each[row]) for each in (reaches.early, reaches.expected, reaches.late))
    unit = job.units.get(verdict.channels[reaches.channel], "")
    value = finite(verdict.values[row, reaches.channel])
    return wording.reaches(reaches.limit, early, expected, late, now, value, unit)


def not_known(facts: Facts, verdicts: Mapping[str, Verdict]) -> list[Unseen]:
    """Return the jobs of whose series too little is known for a forecast."""
    found = []
    for name, job in facts.jobs.items():
        verdict = verdicts.get(name)
        if verdict is None or verdict.reaches is None or not (count := verdict.reaches.states.get("learning", 0)):
            continue
        limit = number(verdict.reaches.limit, job.units.get(verdict.channels[verdict.reaches.channel], ""))
        text = f"When {count:,} series reach {limit} is not known: that takes a day of their past, and a newest sample."
        found.append(Unseen("series_learning", [name], text))
    return found

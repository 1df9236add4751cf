"""The worst reading of an incident: kept while it is open and until its end was seen, and nothing else."""

import numpy as np
import pytest

from exporter.config.sections.job import JobConfig
from exporter.pipeline.incidents import IncidentTracker
from exporter.pipeline.worst_readings import ENDINGS, SHOWN_AFTER, Readings, Sample, WorstReadings
from tests.support.verdicts import key

N = np.nan
A, B = key(instance="a"), key(instance="b")
STEP = 60.0


class Run:
    """Incidents of one job with their readings, a minute at a time."""

    def __init__(self, job: JobConfig, keys=(A, B)) -> None:
        self.incidents, self.readings = IncidentTracker.of(job), WorstReadings.of(job)
        self.keys, self.now, self.channels = keys, 0.0, len(job.queries)

    def see(self, score, value, accepted=None, expected=1.0, lower=0.5, upper=1.5, contribution=N) -> Readings:
        """Take in a minute; numbers of one entity stand for all channels."""
        self.now += STEP
        shape = (len(self.keys), self.channels)
        wide = [
            np.array(np.broadcast_to(np.array(each) if np.ndim(each) > 1 else np.reshape(each, (-1, 1)), shape))
            for each in (value, expected, lower, upper, contribution)
        ]
        scores = np.array(score, float)
        update = self.incidents.decide(self.keys, scores, self.now, STEP, accepted=accepted)
        return self.readings.take(self.keys, self.now, scores, Sample(*wide), update, accepted)


def job(**keys) -> JobConfig:
    return JobConfig.model_validate({"expr": "node_load5", "clear_after": "2m", **keys})


def test_a_reading_stays_the_worst_one_until_its_end_was_shown() -> None:
    run = Run(job())
    assert run.see([0.1, 0.1], [1.0, 1.0]).rows.tolist() == []
    worst = None
    for score, value in ((2.0, 3.0), (9.0, 5.0), (4.0, 4.0), (0.1, 1.0)):
        worst = run.see([score, 0.1], [value, 1.0])
        assert worst.rows.tolist() == [0]
        assert np.isnan(worst.end).all()
    assert (worst.start.tolist(), worst.at.tolist(), worst.score.tolist()) == ([120.0], [180.0], [9.0])
    figures = [getattr(worst, name).item() for name in ("value", "expected", "lower", "upper")]
    assert figures == [5.0, 1.0, 0.5, 1.5]
    over = run.see([0.1, 0.1], [1.0, 1.0])
    assert (over.end.tolist(), ENDINGS[over.ending[0]], over.value.tolist()) == ([run.now], "recovered", [[5.0]])
    for _ in range(round(SHOWN_AFTER / STEP) - 1):
        assert run.see([0.1, 0.1], [1.0, 1.0]).end.tolist() == over.end.tolist()
    assert run.see([0.1, 0.1], [1.0, 1.0]).rows.tolist() == []


def test_a_sample_outside_its_band_is_worse_than_one_within() -> None:
    run = Run(job())
    run.see([5.0, 0.0], [1.2, 1.0])  # several samples together
    assert run.see([2.0, 0.0], [1.7, 1.0]).value.tolist() == [[1.7]]
    assert run.see([6.0, 0.0], [1.1, 1.0]).value.tolist() == [[1.7]]


def test_of_equal_scores_the_one_further_out_is_worse() -> None:
    """Everything outside the valid range has the same score."""
    run = Run(job())
    for value in (2.0, 8.0, 3.0):
        found = run.see([10.0, 0.0], [value, 1.0])
    assert found.value.tolist() == [[8.0]]


def test_the_next_incident_begins_with_nothing_of_the_one_before() -> None:
    run = Run(job())
    run.see([9.0, 0.0], [9.0, 1.0])
    for _ in range(2):
        run.see([0.1, 0.0], [1.0, 1.0])
    found = run.see([2.0, 0.0], [2.0, 1.0])
    assert (found.start.tolist(), found.value.tolist(), found.score.tolist()) == ([run.now], [[2.0]], [2.0])
    assert np.isnan(found.end).all()


def test_each_ending_has_its_name() -> None:
    ended = []
    for scores, accepted, hold in (
        ([0.1, 0.1], None, "1d"),
        ([9.0], [True, False], "1d"),
        ([9.0, 9.0, 9.0], None, "3m"),
        ([N] * 60, None, "1d"),
    ):
        run = Run(job(max_hold=hold), (A, B))
        run.see([9.0, 0.0], [9.0, 1.0])
        for score in scores:
            found = run.see([score, 0.0], [9.0, 1.0], accepted=None if accepted is None else np.array(accepted))
        ended.append(ENDINGS[found.ending[0]])
        assert found.end.tolist() == [run.now]
    assert ended == ["recovered", "accepted", "adopted", "no data"]


def test_channels_that_were_normal_are_not_named() -> None:
    queries = {"p99": "api_seconds", "errors": "api_errors_total", "rps": "api_requests_total"}
    run = Run(JobConfig.model_validate({"channels": queries}))
    found = run.see([5.0, 0.0], [[9.0, 1.0, 0.1], [1.0, 1.0, 1.0]], contribution=[[0.5, 0.1, 0.4]] * 2)
    assert found.value[0].tolist() == pytest.approx([9.0, N, 0.1], nan_ok=True)
    run = Run(JobConfig.model_validate({"channels": queries}))
    found = run.see([5.0, 0.0], [[1.0, 1.0, 1.0]] * 2, contribution=[[0.2, 0.7, 0.1]] * 2)  # all of them together
    assert found.value[0].tolist() == pytest.approx([N, 1.0, N], nan_ok=True)


@pytest.mark.parametrize(
    ("expr", "value", "lower"),
    [
        ("node_memory_MemAvailable_bytes", 5.0, 0.0),
        ("rate(api_seconds_sum[5m]) / rate(api_seconds_count[5m])", 5.0, 0.0),
        ("1 - a_bytes / b_bytes", 5.0, 0.0),
        ("rate(http_requests_total[5m])", 5.0, 0.0),
        ("count by (pod) (up)", 5.0, 0.0),
        ("node_temperature_celsius", 5.0, -3.0),
        ("deriv(disk_free_bytes[1h])", 5.0, -3.0),
        ("a_bytes - b_bytes", -5.0, -3.0),
    ],
)
def test_a_limit_is_not_below_what_a_value_can_be(expr: str, value: float, lower: float) -> None:
    found = Run(job(expr=expr)).see([5.0, 0.0], [value, 1.0], lower=-3.0)
    assert found.lower.tolist() == [[lower]]


def test_an_infinite_limit_is_none() -> None:
    found = Run(job()).see([5.0, 0.0], [5.0, 1.0], lower=-np.inf)
    assert np.isnan(found.lower).all()


def test_a_restart_keeps_them_and_an_older_version_had_none() -> None:
    run = Run(job())
    before = run.see([9.0, 0.0], [9.0, 1.0])
    after = WorstReadings.of(job())
    after.restore(run.readings.state())
    assert [getattr(after.current(), name).tolist() for name in ("rows", "start", "at", "score", "value")] == [
        getattr(before, name).tolist() for name in ("rows", "start", "at", "score", "value")
    ]
    old = Run(job())
    old.incidents.restore(run.incidents.state())
    old.readings.restore({})
    old.now = run.now
    found = old.see([0.7, 0.0], [1.0, 1.0])  # still open, but no sample above 1 is known
    assert (found.start.tolist(), np.isnan(found.at).all(), np.isnan(found.value).all()) == ([60.0], True, True)


def test_entities_may_come_and_go() -> None:
    run = Run(job())
    run.see([9.0, 0.0], [9.0, 1.0])
    run.keys = (B, A)
    assert run.see([0.0, 2.0], [1.0, 3.0]).rows.tolist() == [1]
    run.keys = (B,)
    assert run.see([0.0], [1.0]).rows.tolist() == []

"""When a series reaches its limit: what is said of it, what is not, and that nothing of it stops a job."""

import json

import numpy as np
import promql_parser
import pytest

from exporter.backtest.replay import Columns, make_job, replay
from exporter.config.digest import JobDigests
from exporter.config.sections.job import JobConfig
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.forecast_history import question
from exporter.source.errors import QueryRejected
from tests.support.cycles import MONDAY

STEP, HOUR, DAY = 300.0, 3600.0, 86_400.0
SAMPLES = round(21 * DAY / STEP)
LEARNT = round(10 * DAY / STEP)


class Source:
    """Answers with series of 21 days, and with the highest or lowest of each hour of them."""

    def __init__(self, series: dict[str, np.ndarray], refuses: bool = False) -> None:
        self.names = [json.dumps({"instance": name}).encode() for name in series]
        self.values, self.refuses, self.asked = np.stack(list(series.values())), refuses, []

    def range(self, expr, start, end, step, max_series=None):
        first = round(MONDAY / STEP)
        if "_over_time" not in expr:
            return Columns(self.names, self.values, first, STEP).frame(start, end)
        self.asked.append(expr)
        if self.refuses:
            raise QueryRejected("too many samples")
        hours = self.values[:, 1:-11].reshape(len(self.names), -1, 12)
        nearest = hours.min(axis=2) if expr.startswith("min") else hours.max(axis=2)
        return Columns(self.names, nearest, round(MONDAY / HOUR) + 1, HOUR).frame(start, end)

    def metric_types(self, _names):
        return {}


def config(direction="below", limit=0.0, **job):
    return JobConfig.model_validate(
        {"expr": "free", "step": STEP, "window": HOUR, "detector": "robust", "history": 2 * DAY, "direction": direction,
         "deploys": {"presets": []}, "forecast": {"limit": limit}} | job
    )  # fmt: skip


def run(series, last=SAMPLES - 1, first=LEARNT, source=None, **settings):
    """Return the verdicts from `first` to `last`, and the job."""
    job = make_job("disks", config(**settings), source or Source(series), hold=True)
    begin = round(MONDAY / STEP)
    return list(replay(job, begin + first, begin + last, lambda _: None)), job


def at(sample):
    return MONDAY + sample * STEP


SIZE = 100 * 2.0**30
STEADY = SIZE * (1 - np.arange(SAMPLES) / (SAMPLES - 1))
"""Free bytes of a disk that is empty at the last sample."""


def test_a_constant_leak_is_told_to_the_hour_with_a_narrow_interval():
    for direction, values, limit in (("below", STEADY, 0.0), ("above", SIZE - STEADY, SIZE)):
        verdicts, _ = run({"a": values}, last=LEARNT + 200, direction=direction, limit=limit)
        found = verdicts[-1].reaches
        assert found.early[0] <= at(SAMPLES - 1) <= found.late[0]
        assert found.late[0] - found.early[0] < 4 * HOUR
        assert found.states == {"ahead": 1, "reached": 0, "not_in_sight": 0, "learning": 0}


def test_what_does_not_move_towards_its_limit_is_not_in_sight_and_what_only_falls_away_is_neither():
    rng = np.random.default_rng()
    still = SIZE * (0.4 + 0.01 * rng.standard_normal(SAMPLES))
    verdicts, _ = run({"still": still, "away": SIZE - STEADY + 1e9}, last=LEARNT + 20)
    found = verdicts[-1].reaches
    assert np.isposinf(found.early).all()
    assert np.isposinf(found.expected).all()
    assert found.states["not_in_sight"] == 2


def test_nothing_is_said_of_less_than_a_day():
    values = np.maximum(SIZE * (1 - (np.arange(SAMPLES) - LEARNT) / 720), 0)  # empty after two days and a half
    values[: LEARNT - 20 * 12] = np.nan
    verdicts, _ = run({"young": values}, last=LEARNT + 5 * 12)
    known = [np.isfinite(verdict.reaches.early[0]) for verdict in verdicts]
    assert not any(known[: 3 * 12])
    assert verdicts[0].reaches.states["learning"] == 1
    assert known[-1]


def test_a_limit_that_is_passed_says_since_when_and_is_forgotten_when_there_is_room():
    values = np.maximum(STEADY - STEADY[LEARNT - 6 * 12], 0)
    values[LEARNT + 60 :] = SIZE / 2
    verdicts, _ = run({"full": values}, last=LEARNT + 80)
    found = verdicts[20].reaches
    assert found.states["reached"] == 1
    assert found.early[0] == found.expected[0] == found.late[0]
    assert abs(found.early[0] - at(LEARNT - 6 * 12)) <= HOUR
    assert verdicts[-1].reaches.states["reached"] == 0


def test_the_source_is_asked_once_for_the_hours_that_the_job_has_not_seen():
    source = Source({"a": STEADY})
    verdicts, _ = run({"a": STEADY}, last=LEARNT + 400, source=source)
    assert source.asked == ["min_over_time((\nfree\n)[1h:5m])"]
    assert np.isfinite(verdicts[2].reaches.early[0])


def test_a_source_that_refuses_the_past_stops_nothing_and_is_asked_again_in_an_hour():
    source = Source({"a": STEADY[2000:]}, refuses=True)
    source.values = STEADY[np.newaxis] - STEADY[LEARNT + 720]  # empty in two days and a half
    verdicts, job = run({}, last=LEARNT + 30, source=source)
    assert np.isfinite(verdicts[-1].score[0])
    assert np.isfinite(verdicts[-1].reaches.early[0])  # of the two days that it has seen itself
    refused = len(source.asked)
    assert 3 <= refused <= 6  # at a start and once an hour, each time once more for a shorter range
    source.refuses = False
    list(replay(job, round(at(LEARNT + 31) / STEP), round(at(LEARNT + 60) / STEP), lambda _: None))
    assert len(source.asked) == refused + 1
    assert job.learnt.forecast.missing is None


def frozen(verdict):
    found = verdict.reaches
    return verdict.time, *(each.tobytes() for each in (found.early, found.expected, found.late))


def world(seed=None):
    rng = np.random.default_rng(seed)
    rhythm = 0.05 * SIZE * np.sin(2 * np.pi * np.arange(SAMPLES) / 288)
    runs_away = np.where(np.arange(SAMPLES) > LEARNT + 100, SIZE / 40 * (np.arange(SAMPLES) - LEARNT - 100) / 12, 0)
    return {
        "steady": STEADY, "rhythm": STEADY + rhythm + rng.normal(0, 1e8, SAMPLES),
        "runaway": np.maximum(SIZE * 0.6 + rng.normal(0, 1e8, SAMPLES) - runs_away, 0),
        "still": SIZE * 0.3 + rng.normal(0, 1e9, SAMPLES),
    }  # fmt: skip


def test_live_and_backtest_are_equal_to_the_bit():
    series = world()
    past, _ = run(series, last=LEARNT + 300)
    job = make_job("disks", config(), Source(series), hold=True)
    live = [verdict for n in range(LEARNT, LEARNT + 301) for verdict in evaluate(job, at(n) + 1)]
    assert [frozen(each) for each in live] == [frozen(each) for each in past]


def test_what_is_known_survives_a_restart():
    series = world(7)
    job = make_job("disks", config(), Source(series), hold=True)
    once = [verdict for n in range(LEARNT, LEARNT + 80) for verdict in evaluate(job, at(n) + 1)]
    first = make_job("disks", config(), Source(series), hold=True)
    for n in range(LEARNT, LEARNT + 40):
        list(evaluate(first, at(n) + 1))
    source = Source(series)
    second = make_job("disks", config(), source, hold=True)
    second.restore(first.state())
    again = [verdict for n in range(LEARNT + 40, LEARNT + 80) for verdict in evaluate(second, at(n) + 1)]
    assert [frozen(each) for each in again] == [frozen(each) for each in once[-40:]]
    assert source.asked == []


def test_a_disk_that_begins_to_run_full_is_seen_within_three_hours():
    verdicts, _ = run(world(), last=LEARNT + 100 + 36)
    found = verdicts[-1].reaches
    names = [dict(key)["instance"] for key in verdicts[-1].keys]
    row = names.index("runaway")
    empty = at(LEARNT + 100 + 24 * 12)
    assert abs(found.early[row] - empty) < 12 * HOUR
    assert np.isfinite(found.expected[row])


@pytest.mark.parametrize("gap", [4, 60])
def test_gaps_change_little(gap):
    values = STEADY.copy()
    values[LEARNT + 30 : LEARNT + 30 + gap] = np.nan
    verdicts, _ = run({"a": values}, last=LEARNT + 200)
    found = verdicts[-1].reaches
    assert found.early[0] <= at(SAMPLES - 1) <= found.late[0]
    assert found.late[0] - found.early[0] < 8 * HOUR
    assert np.isfinite(verdicts[30 + gap - 1].reaches.early).any() == (gap == 4)


def test_a_clean_up_is_no_trend_and_a_limit_on_the_other_side_is_found_from_the_past():
    values = 0.3 + 0.002 * np.random.default_rng().standard_normal(SAMPLES)
    values[LEARNT + 40 :] += 0.4  # somebody made room
    for sign in (1, -1):
        verdicts, _ = run({"a": sign * values}, last=LEARNT + 100, direction="both", limit=sign * 0.1)
        found = verdicts[-1].reaches
        assert np.isposinf(found.expected[0])
        assert found.early[0] > at(LEARNT + 100) + 3 * DAY


@pytest.mark.parametrize(("side", "over"), [(1, "max_over_time"), (-1, "min_over_time"), (0, "last_over_time")])
def test_the_question_for_the_past_is_promql(side, over):
    asked = question('sum by (a) (rate(x_total{b="c"}[5m])) # why\n or y', side, 60.0)
    assert asked.startswith(f"{over}(")
    assert promql_parser.parse(asked)


def test_a_reload_with_another_limit_keeps_what_was_seen_and_one_with_another_direction_asks_again():
    source = Source({"a": STEADY})
    job = make_job("disks", config(), source, hold=True)
    verdicts = list(replay(job, round(at(LEARNT) / STEP), round(at(LEARNT + 20) / STEP), lambda _: None))
    before = verdicts[-1].reaches.expected[0]
    for settings, asked in (({"limit": SIZE / 4}, 1), ({"limit": 2 * SIZE, "direction": "above"}, 2), ({}, 3)):
        job.reconfigure(config(**settings), JobDigests("", str(settings)))
        start = round(verdicts[-1].time / STEP) + 1
        verdicts = list(replay(job, start, start + 20, lambda _: None))
        assert len(source.asked) == asked
        if "direction" in settings:
            assert np.isposinf(verdicts[-1].reaches.early[0])
        elif "limit" in settings:
            assert verdicts[-1].reaches.expected[0] < before - 24 * HOUR
    assert abs(verdicts[-1].reaches.expected[0] - before) < 2 * HOUR


def test_a_series_that_ends_takes_nothing_with_it_and_finds_its_past_when_it_is_back():
    other = STEADY.copy()
    other[LEARNT + 40 : LEARNT + 80] = np.nan
    source = Source({"a": STEADY, "b": other})
    verdicts, _ = run({}, last=LEARNT + 120, source=source)
    assert len(verdicts[70].keys) == 1
    assert np.isfinite(verdicts[-1].reaches.early).all()
    assert len(source.asked) == 2


def test_a_restart_with_another_limit_forgets_what_was_told_of_the_other():
    first = make_job("disks", config(), Source({"a": STEADY}), hold=True)
    list(replay(first, round(at(LEARNT) / STEP), round(at(LEARNT + 20) / STEP), lambda _: None))
    for settings, asked in (({"limit": SIZE / 4}, 0), ({"limit": 2 * SIZE, "direction": "above"}, 1)):
        source = Source({"a": STEADY})
        second = make_job("disks", config(**settings), source, hold=True)
        second.restore(first.state())
        begin = round(at(LEARNT + 21) / STEP)
        *_, last = replay(second, begin, begin + 20, lambda _: None)
        assert len(source.asked) == asked
        expected = last.reaches.expected[0]
        assert np.isposinf(expected) if asked else abs(expected - at(SAMPLES * 3 // 4)) < 2 * HOUR


def test_the_cone_is_at_the_limit_when_the_forecast_says_so():
    values = SIZE * (1 - np.arange(SAMPLES) / SAMPLES) + 2.0**30 * np.sin(np.arange(SAMPLES) * 2 * np.pi * STEP / DAY)
    for direction, series, limit in (("below", values, 0.0), ("above", SIZE - values, SIZE)):
        last = SAMPLES - round(2 * DAY / STEP)
        verdicts, job = run({"a": series}, last=last, first=last - 20, direction=direction, limit=limit)
        found, now = verdicts[-1].reaches, verdicts[-1].time
        cone = job.learnt.forecast.cone(verdicts[-1].keys[0], now)
        side = 1 if direction == "above" else -1
        for name, widened in (("early", 0.5), ("expected", 0.0), ("late", -0.5)):
            line = side * (getattr(cone, name) - limit)
            assert (np.diff(line) >= 0).all()
            crossed = cone.times[np.argmax(line >= 0)]
            assert getattr(found, name)[0] + widened * HOUR == pytest.approx(crossed, abs=1.2 * HOUR)
        assert (side * cone.early >= side * cone.expected).all()
        assert (side * cone.expected >= side * cone.late).all()
        assert cone.past[-1] == pytest.approx(cone.expected[0], rel=0.01)
        assert cone.past_times[-1] == cone.times[0] == now
        assert job.learnt.forecast.cone((("instance", "other"),), now) is None

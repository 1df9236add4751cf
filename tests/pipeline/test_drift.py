"""Drift is what lasts: found after a change for good, not after a rhythm, an incident or weeks of chance."""

import numpy as np
import pytest

from detectors.units import HOUR
from exporter.config.sections.job import DriftConfig
from exporter.pipeline.drift import KEPT, DriftWatch
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.service.state_files import StateFolder
from tests.pipeline.test_cycle import Bench
from tests.support.fake import DIGESTS

METHODS = ("adwin", "ddm")
WEEK = 168


def hours(rng, count, common=0.05, memory=0.5, daily=0.2):
    """Yield scores of 20 entities, hour by hour: chance of their own, a shared mood, a rhythm of day and week."""
    mood = 0.0
    for hour in range(count):
        mood = memory * mood + common * np.sqrt(1 - memory**2) * rng.normal()
        centre = np.log(0.3) + 4 * mood + daily * np.sin(hour / 24 * 2 * np.pi) + 0.1 * (hour // 24 % 7 >= 5)
        yield np.exp(centre + 0.8 * rng.normal(size=20))


def seen(watch, scores, start=0.0):
    """Feed scores; return the hours in which drift became clear."""
    found = []
    for at, score in enumerate(scores):
        time = start + at * HOUR
        if drift := watch.see(score, time):
            found.append((time / HOUR, drift))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_on_clean_data_there_is_less_than_one_drift_a_year(method):
    found = []
    for seed in range(6):
        watch = DriftWatch(DriftConfig(method=method))
        found += seen(watch, hours(np.random.default_rng(seed), 17 * WEEK))
    assert len(found) <= 1  # in six times 17 weeks, two years


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("times", "within"), [(1.7, 7 * 24), (4.0, 3 * 24)])
def test_a_lasting_rise_is_found_within_days(method, times, within):
    for seed in range(4):
        rng, watch = np.random.default_rng(seed), DriftWatch(DriftConfig(method=method))
        assert not seen(watch, hours(rng, 6 * WEEK))
        found = seen(watch, (times * score for score in hours(rng, 3 * WEEK)), 6 * WEEK * HOUR)
        assert found
        at, drift = found[0]
        assert at - 6 * WEEK <= within
        assert drift.now > drift.before
        assert "risen for good" in drift.reason
        assert len(found) == 1  # the new level is what is usual now


def test_adwin_sees_a_lasting_fall_too():
    rng, watch = np.random.default_rng(0), DriftWatch(DriftConfig())
    seen(watch, hours(rng, 6 * WEEK))
    [(_, drift)] = seen(watch, (score / 3 for score in hours(rng, 2 * WEEK)), 6 * WEEK * HOUR)
    assert drift.now < drift.before
    assert "sunk for good" in drift.reason


@pytest.mark.parametrize("method", METHODS)
def test_an_incident_of_four_hours_in_every_entity_is_no_drift(method):
    rng, watch = np.random.default_rng(1), DriftWatch(DriftConfig(method=method))
    scores = list(hours(rng, 8 * WEEK))
    for day in (30, 38, 45):
        for at in range(day * 24, day * 24 + 4):
            scores[at] = scores[at] * 50
    assert not seen(watch, scores)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [5, 401, 9 * WEEK])
def test_a_restart_changes_nothing(method, stop):
    def scores():
        rng = np.random.default_rng(4)
        yield from hours(rng, 8 * WEEK)
        yield from (4 * score for score in hours(rng, 2 * WEEK))

    never, before, after = (DriftWatch(DriftConfig(method=method)) for _ in range(3))
    whole = seen(never, scores())
    every = list(scores())
    first = seen(before, every[:stop])
    after.restore(before.state())
    second = seen(after, every[stop:], stop * HOUR)
    assert first + second == whole
    assert len(whole) == 1
    for name, array in never.state().items():
        np.testing.assert_array_equal(array, after.state()[name])


@pytest.mark.parametrize("method", METHODS)
def test_memory_is_bounded_and_forgetting_survives_a_restart(method, monkeypatch):
    monkeypatch.setattr("exporter.pipeline.drift.KEPT", 400)
    never, stopped = (DriftWatch(DriftConfig(method=method)) for _ in range(2))
    for at, score in enumerate(hours(np.random.default_rng(2), 12 * WEEK)):
        assert never.see(score, at * HOUR) == stopped.see(score, at * HOUR)
        if at % 250 == 249:
            fresh = DriftWatch(DriftConfig(method=method))
            fresh.restore(stopped.state())
            stopped = fresh
        assert len(never.state()["fed"]) < 800
    np.testing.assert_array_equal(never.state()["fed"], stopped.state()["fed"])


def test_a_saved_state_stays_small():
    watch = DriftWatch(DriftConfig())
    watch._fed = [0.2] * (2 * KEPT - 1)
    assert sum(array.nbytes for array in watch.state().values()) < 25_000


def test_hours_without_a_verdict_are_left_out():
    watch = DriftWatch(DriftConfig())
    for hour in range(100):
        watch.see(np.full(3, np.nan) if hour % 2 else np.array([1.0, np.nan, 3.0]), hour * HOUR)
    assert watch.state()["fed"].tolist() == [0.625] * 50


def drifting(change, **settings):
    """Return a bench with five weeks of ten-minute samples of which `change` alters the last ten days."""
    bench = Bench(**{"step": "10m", "window": "4h", "detector": "robust"} | settings)
    rng = np.random.default_rng(3)
    at = np.arange(5 * 7 * 144)
    for name in "abcd":
        values = 100 + 5 * np.sin(2 * np.pi * at / 144) + rng.normal(size=len(at))
        values[25 * 144 :] = change(values[25 * 144 :], rng)
        bench.source.put("q", {"i": name}, dict(zip((at * 600.0).tolist(), values.tolist(), strict=True)))
    return bench


@pytest.mark.parametrize(
    ("change", "settings", "most"),
    [
        (lambda values, rng: values, {}, 0),
        (lambda values, rng: values + 60.0, {}, 2),
        (lambda values, rng: values + 12 * rng.normal(size=len(values)), {"detector": "auto"}, 2),
    ],
    ids=["clean", "level", "noise"],  # to noise alone robust gets used within hours
)
def test_through_the_cycle_a_lasting_change_is_found_within_two_days_and_clean_weeks_are_silent(change, settings, most):
    bench = drifting(change, **settings)
    bench.job.watch_drift(DriftConfig())
    for day in range(1, 36):
        bench.cycle(day * 1440 - 10)
    found = [verdict.time / 86_400 for verdict in bench.verdicts if verdict.drift]
    assert min(most, 1) <= len(found) <= most
    assert all(25 < day < 35 for day in found)
    assert not found or found[0] < 27


def test_the_watch_survives_a_restart_of_its_job_and_a_change_of_other_settings(tmp_path):
    bench = drifting(lambda values, rng: values)
    bench.job.watch_drift(DriftConfig())
    for day in (1, 2, 3):
        bench.cycle(day * 1440 - 10)
    folder = StateFolder(tmp_path, list)
    folder.save(bench.job)
    fresh = Job(JobSettings("job", bench.config, DIGESTS), bench.source)
    fresh.watch_drift(DriftConfig())
    assert folder.restore(fresh)
    np.testing.assert_array_equal(fresh.learnt.drift.state()["fed"], bench.job.learnt.drift.state()["fed"])
    watch = fresh.learnt.drift
    fresh.watch_drift(DriftConfig(delta=0.002))
    assert fresh.learnt.drift is watch
    fresh.watch_drift(DriftConfig(delta=0.1))
    assert fresh.learnt.drift is not watch
    unwatched = Job(JobSettings("job", bench.config, DIGESTS), bench.source)
    assert folder.restore(unwatched)
    folder.save(unwatched)
    newly = Job(JobSettings("job", bench.config, DIGESTS), bench.source)
    newly.watch_drift(DriftConfig())
    assert folder.restore(newly)  # turning it on does not cost what was learnt

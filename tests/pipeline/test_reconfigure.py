"""Settings that shape deciding are exchanged in a running job: what was learnt and what is open stays."""

import numpy as np
import pytest

from exporter.config.digest import JobDigests
from exporter.config.sections.job import DriftConfig
from exporter.pipeline.alert_budget import AlertBudget
from exporter.pipeline.incidents import IncidentTracker
from exporter.pipeline.job_settings import JobSettings
from exporter.service.state_files import StateFolder
from tests.pipeline.test_cycle import Bench, Job
from tests.support.fake import DIGESTS, recorded

BROKEN, NOW = range(100, 160), 104
OTHER = JobDigests(DIGESTS.learning, "other")


def open_bench(level=60.0, **settings):
    """Return a bench with twenty entities, of which the first has had an incident for five minutes at minute NOW."""
    bench = Bench(**settings)
    for n in range(20):
        bench.put(f"e{n:02}", range(100 if n == 0 else 200))
    bench.put("e00", BROKEN, level)
    for minute in range(95, NOW + 1):
        last = bench.cycle(minute)
    assert last.flag[0]
    assert not last.flag[1:].any()
    return bench


def reconfigure(bench, digests=OTHER, **settings):
    bench.config = bench.config.model_copy(update=settings)
    bench.job.reconfigure(bench.config, digests)


def test_settings_are_taken_up_at_the_next_cycle_and_change_the_config_hash():
    bench = open_bench()
    before = bench.verdicts[-1].config_hash
    reconfigure(bench, least_deviation=1000.0)
    assert bench.job.config.least_deviation == 0.0
    verdict = bench.cycle(NOW + 1)
    assert bench.job.config.least_deviation == 1000.0
    assert verdict.config_hash == OTHER.combined != before
    assert verdict.score[0] <= 0.6


def test_settings_taken_back_before_a_cycle_change_nothing():
    bench = open_bench()
    config = bench.config
    reconfigure(bench, least_deviation=1000.0)
    bench.job.reconfigure(config, DIGESTS)
    assert bench.cycle(NOW + 1).score[0] > 1


def test_settings_that_need_a_fresh_start_are_refused():
    bench = open_bench()
    with pytest.raises(ValueError, match="fresh start"):
        bench.job.reconfigure(bench.config, JobDigests("other", "deciding"))


@pytest.mark.parametrize("settings", [{"least_deviation": 1000.0}, {"direction": "below"}])
def test_an_incident_that_no_longer_counts_closes_after_clear_after(settings):
    bench = open_bench()
    since = bench.verdicts[-1].since[0]
    reconfigure(bench, **settings)
    flags = [(verdict := bench.cycle(minute)).flag[0] for minute in range(NOW + 1, NOW + 6)]
    assert flags == [True] * 4 + [False]  # five minutes
    assert verdict.changed[0]
    assert bench.verdicts[-2].since[0] == since


@pytest.mark.parametrize(
    "settings",
    [
        {"open_after": 99}, {"clear_after": 60.0}, {"flap_limit": 9}, {"flap_limit": 1}, {"flap_window": 60.0},
        {"max_hold": 7200.0}, {"valid_range": (0.0, 50.0)}, {"publish": frozenset({"value"})}, {"max_age": 7200.0},
        {"max_series": 50}, {"budget": 7.0},
    ],
)  # fmt: skip
def test_an_incident_that_still_counts_stays_open_with_its_begin_and_severity(settings):
    bench, same = open_bench(), open_bench()
    reconfigure(bench, **settings)
    for minute in range(NOW + 1, NOW + 5):
        verdict, other = bench.cycle(minute), same.cycle(minute)
        np.testing.assert_array_equal(verdict.flag, other.flag)
        np.testing.assert_array_equal(verdict.since, other.since)
        np.testing.assert_array_equal(verdict.expected, other.expected)
        assert verdict.severity[0] >= other.severity[0]
    assert bench.source.asked == same.source.asked  # no history is read again


def test_a_shorter_max_hold_lets_an_old_incident_become_normal_at_the_next_cycle():
    bench = open_bench()
    reconfigure(bench, max_hold=120.0)
    assert not bench.cycle(NOW + 1).flag[0]


def test_fewer_false_alarms_lower_the_score_from_the_next_cycle_on():
    bench, same = open_bench(), open_bench()
    reconfigure(bench, false_alarms=0.1)
    one, other = bench.cycle(NOW + 1), same.cycle(NOW + 1)
    assert one.score[0] == pytest.approx(other.score[0] * 0.1 ** (1 / 2.4))


@pytest.mark.parametrize(("limit", "kept"), [(1, [200.0, 140.0]), (4, [200.0, 140.0, 80.0, 20.0, -np.inf])])
def test_the_newest_openings_and_closings_are_kept_by_another_flap_limit(limit, kept):
    config, keys = Bench(flap_limit=3, clear_after="0s").config, ((("i", "a"),),)
    tracker = IncidentTracker.of(config)
    for n, score in enumerate([5.0, 0.0, 5.0, 0.0]):
        tracker.decide(keys, np.array([score]), 20.0 + 60 * n, 60.0)
    other = tracker.reconfigured(config.model_copy(update={"flap_limit": limit}))
    assert other.state()["turns"].tolist() == [kept]


@pytest.mark.parametrize(("per_week", "alert"), [(1e6, True), (2e6, True), (1e-6, False)])
def test_an_alert_ends_by_a_stricter_budget_only(per_week, alert):
    config, keys = Bench().config, tuple((("i", str(n)),) for n in range(3))
    budget = AlertBudget.of(config.model_copy(update={"budget": 1e6}))
    flag, severity, nothing = np.array([True, False, False]), np.array([9.0, 0.0, 0.0]), np.zeros(3)
    assert budget.decide(keys, flag, severity, nothing, 60.0)[0]
    budget.reconfigure(config.model_copy(update={"budget": per_week}))
    assert budget.decide(keys, flag, severity, nothing, 60.0)[0] == alert


def test_drift_is_watched_from_the_start_where_the_scores_are_others():
    bench = open_bench()
    bench.job.watch_drift(DriftConfig())
    watch = bench.job.learnt.drift
    reconfigure(bench, budget=9.0)
    bench.cycle(NOW + 1)
    assert bench.job.learnt.drift is watch
    reconfigure(bench, JobDigests(DIGESTS.learning, "third"), least_deviation=5.0)
    bench.cycle(NOW + 2)
    assert bench.job.learnt.drift is not watch


def test_a_saved_state_is_restored_under_other_settings_of_deciding(tmp_path):
    bench, folder = open_bench(), StateFolder(tmp_path, list)
    folder.save(bench.job)
    config = bench.config.model_copy(update={"least_deviation": 20.0, "flap_limit": 9, "budget": 3.0})
    job = Job(JobSettings("job", config, OTHER), bench.source, recorded(bench.metrics, config))
    assert folder.restore(job)
    assert job.last.config_hash == DIGESTS.combined
    bench.job, since = job, bench.verdicts[-1].since[0]
    verdict = bench.cycle(NOW + 1)
    assert verdict.flag[0]
    assert verdict.since[0] == since
    assert verdict.config_hash == OTHER.combined


def test_drift_is_not_restored_from_scores_of_another_policy(tmp_path):
    bench, folder = open_bench(), StateFolder(tmp_path, list)
    bench.job.watch_drift(DriftConfig())
    bench.cycle(NOW + 1)
    folder.save(bench.job)
    for deviation, restored in ((0.0, True), (20.0, False)):
        config = bench.config.model_copy(update={"least_deviation": deviation})
        job = Job(
            JobSettings("job", config, OTHER),
            bench.source,
            recorded(bench.metrics, config),
        )
        job.watch_drift(DriftConfig())
        assert folder.restore(job)
        assert np.isfinite(job.learnt.drift.state()["hour"][0]) == restored

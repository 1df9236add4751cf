"""One cycle from samples to page, with the source in memory."""

import math
import zlib
from functools import partial

import numpy as np
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from exporter.config.sections.job import JobConfig
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.sinks.flag_log import log_flags
from exporter.sinks.metrics_page import Page
from exporter.source.errors import Unreachable
from exporter.source.samples import RangeResult
from tests.support.fake import DIGESTS, FakeSource, recorded
from tests.support.runners import runner_of
from tests.support.verdicts import key, verdict

STEP = 60.0


class Bench:
    """A job on a source in memory, its page, and a clock that a test sets."""

    def __init__(self, **settings):
        self.source, self.metrics = FakeSource(), SelfMetrics()
        self.page, self.telemetry = Page(self.metrics), Telemetry(self.metrics, {})
        self.verdicts = []
        self.config = JobConfig.model_validate({"expr": "q", "window": "30m", "detector": "robust"} | settings)
        self.job = Job(
            JobSettings("job", self.config, DIGESTS),
            self.source,
            recorded(self.metrics, self.config),
        )

    def put(self, name, minutes, value=None, **labels):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        for m in minutes:
            level = 10 + rng.normal() if value is None else value
            self.source.put("q", {"i": name, **labels}, {m * STEP: level})

    def cycle(self, minute):
        verdict = None
        for verdict in evaluate(self.job, minute * STEP, partial(self.telemetry.stage, "job")):
            self.verdicts.append(verdict)
        if verdict is not None:
            self.page.publish(verdict, self.config.publish)
            self.page.render()
        return verdict

    def sample(self, name, **labels):
        return self.metrics.registry.get_sample_value(f"anomaly_exporter_{name}", {"query": "job", **labels})


def test_a_cycle_judges_the_newest_sample_once():
    bench = Bench()
    bench.put("a", range(100))
    verdict = bench.cycle(50)
    assert verdict.time == 50 * STEP
    assert 0 <= verdict.score[0] <= 1
    assert bench.cycle(50) is None
    assert bench.cycle(51).time == 51 * STEP
    assert dict(verdict.states) == {"ready": 1, "warming": 0, "stale": 0, "error": 0}


def test_a_failed_cycle_leaves_the_job_as_it_was_and_the_next_one_goes_on():
    bench = Bench()
    bench.put("a", range(100))
    bench.cycle(50)
    bench.source.error = Unreachable("down")
    with pytest.raises(Unreachable):
        bench.cycle(51)
    bench.source.error = None
    assert bench.cycle(53).time == 53 * STEP
    assert bench.source.asked[-1] == ("q", 51 * STEP, 53 * STEP)


def test_entities_that_warm_up_or_lack_a_sample_have_no_verdict_and_are_counted():
    bench = Bench()
    bench.put("old", range(100))
    bench.put("new", range(48, 100))
    bench.put("gone", range(50))
    verdict = bench.cycle(50)
    named = {dict(key)["i"]: score for key, score in zip(verdict.keys, verdict.score, strict=True)}
    assert named["old"] >= 0
    assert math.isnan(named["new"])
    assert math.isnan(named["gone"])
    assert dict(verdict.states) == {"ready": 1, "warming": 1, "stale": 1, "error": 0}
    assert bench.page.current.body.count(b"\nanomaly_score{") == 3
    assert bench.page.current.body.count(b"} NaN") == 2


def test_a_short_gap_is_filled_and_a_long_one_is_not_flagged():
    bench = Bench()
    bench.put("a", [m for m in range(100) if m not in range(40, 49)])
    for minute in range(50, 60):
        verdict = bench.cycle(minute)
        assert not verdict.flag.any()
        assert verdict.score[0] <= 1


def test_half_an_answer_teaches_no_model():
    bench = Bench(detector="isolation_forest", history="2h")
    for name in "abcd":
        bench.put(name, range(300))
    bench.source.warnings = ("one store did not answer",)
    assert math.isnan(bench.cycle(200).score[0])
    assert bench.sample("partial_responses_total") >= 1
    assert bench.sample("model_trained_timestamp_seconds", detector="isolation_forest") is None
    bench.source.warnings = ()
    assert bench.cycle(201).score[0] >= 0


def test_ten_times_the_series_are_cut_to_the_limit_counted_and_said_once():
    """Row 13 of the list of faults, from the side of the cycle."""
    bench = Bench()
    bench.put("a", range(100))
    bench.cycle(50)
    whole = bench.source.range

    def limited(expr, start, end, step, max_series=None):
        frame = whole(expr, start, end, step, max_series)
        return RangeResult(frame.labels, frame.counts, frame.times, frame.values, series_dropped={"limit": 9})

    bench.source.range = limited
    with structlog.testing.capture_logs() as logs:
        for minute in (51, 52, 53):
            bench.cycle(minute)
        bench.source.range = whole
        bench.cycle(54)
    assert bench.sample("series_dropped_total", reason="limit") == 27
    said = [line["limit"] for line in logs if line["event"] == "series_dropped"]
    assert said == [9, 0]


@pytest.mark.parametrize("detector", ["robust", "isolation_forest", "half_space_trees"])
@pytest.mark.parametrize("value", [1e308, -1e308, -0.0, 5e-324, math.nan])
def test_extreme_values_and_long_labels_give_a_page_that_parses(detector, value):
    bench = Bench(detector=detector, history="3h")
    for name in "abcde":
        bench.put(name, range(300), pod="x" * 4096)
    for m in range(190, 210, 2):
        bench.source.put("q", {"i": "a", "pod": "x" * 4096}, {m * STEP: value})
    for minute in range(200, 206):
        verdict = bench.cycle(minute)
        assert np.isfinite(verdict.score[1:]).all()
        families = {f.name: f for f in text_string_to_metric_families(bench.page.current.body.decode())}
        scores = [sample.value for sample in families["anomaly_score"].samples]
        assert len(scores) == 5
        assert not any(math.isinf(score) for score in scores)


def test_several_channels_are_one_entity_with_one_score():
    bench = Bench(expr=None, channels={"p99": "x", "rps": "y"}, entity=["svc"])
    rng = np.random.default_rng(0)
    for channel in "xy":
        for svc in "ab":
            bench.source.put(channel, {"svc": svc, "le": channel}, {60.0 * m: rng.normal(5, 1) for m in range(100)})
    bench.source.put("y", {"svc": "b", "le": "y"}, {50 * STEP: 90.0})
    verdict = bench.cycle(50)
    assert verdict.keys == ((("svc", "a"),), (("svc", "b"),))
    assert verdict.flag.tolist() == [False, True]
    assert verdict.contribution[1].argmax() == 1
    assert b'anomaly_upper{channel="rps",svc="b"' in bench.page.current.body
    assert b'anomaly_contribution{channel="rps",svc="b"' in bench.page.current.body
    assert b'anomaly_contribution{channel="p99",svc="b"' not in bench.page.current.body


def test_the_log_names_the_channels_that_contribute_most():
    with structlog.testing.capture_logs() as logs:
        log_flags(
            verdict(
                (key(i="a"), key(i="b")), channels=("p99", "rps"), contribution=[[0.25, 0.75], [1, 0]], changed=[1, 0]
            )
        )
        log_flags(verdict((key(i="a"),), changed=[True]))
    assert [(line["channel"], line.get("contribution")) for line in logs] == [
        ("rps", {"p99": 0.25, "rps": 0.75}),
        ("value", None),
    ]


def test_one_jobs_defect_stays_its_own():
    bench = Bench()
    bench.put("a", range(100))
    runner = runner_of(bench)
    bench.job.model.detector = None
    with structlog.testing.capture_logs() as logs:
        runner.cycle(50 * STEP)
    assert [(line["event"], line["reason"]) for line in logs] == [("cycle_failed", "internal")]
    assert bench.sample("cycles_total", outcome="error") == 1
    assert not runner.published


def test_raw_counters_become_rates_and_the_user_may_say_no():
    for rate, expected in ((True, "rate(work_total[5m])"), (False, "work_total")):
        source = FakeSource()
        source.types = {"work_total": "counter"}
        job = Job(JobSettings("j", JobConfig(expr="work_total", rate=rate), DIGESTS), source)
        assert job.reader.queries == {"value": expected}


def test_the_name_tells_a_counter_where_the_metadata_does_not():
    source = FakeSource()
    source.types = {"odd_total": "gauge"}
    config = JobConfig(channels={"a": "work_total", "b": "odd_total", "c": "level", "d": "sum(work_total)"})
    job = Job(JobSettings("j", config, DIGESTS), source)
    assert list(job.reader.queries.values()) == ["rate(work_total[5m])", "odd_total", "level", "sum(work_total)"]


def test_what_came_in_during_an_outage_is_judged_as_if_there_had_been_none():
    live, late = Bench(), Bench()
    for bench in (live, late):
        bench.put("a", range(60))
        bench.put("a", range(60, 80), value=40.0)
        bench.put("a", range(80, 110))
        bench.put("b", range(110))
        bench.cycle(55)
    for minute in range(56, 101):
        live.cycle(minute)
    late.cycle(57)
    for minute in (70, 100):  # thirteen samples at once, then thirty
        late.cycle(minute)
    assert [v.time for v in late.verdicts] == [v.time for v in live.verdicts]
    for one, other in zip(live.verdicts, late.verdicts, strict=True):
        for name in ("score", "flag", "severity", "alert", "since", "changed", "expected", "upper"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert any(v.flag[0] for v in live.verdicts)


def test_an_incident_under_way_at_the_start_is_seen_and_is_news():
    bench = Bench()
    bench.put("a", range(40))
    bench.put("a", range(40, 60), value=40.0)
    verdict = bench.cycle(50)
    assert verdict.flag.tolist() == verdict.changed.tolist() == [True]
    assert verdict.since[0] == 40 * STEP
    assert len(bench.verdicts) == 1
    assert not bench.cycle(51).changed[0]

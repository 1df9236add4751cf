"""The workbench with its real process and a real Prometheus."""

import time

import numpy as np
import pytest
import yaml
from msgspec.structs import replace

from deploy.demo.servers import ITSELF
from exporter.backtest.replay import make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.preview.workbench import MOST, Workbench
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus
from exporter.web.ui.bench import Choice, Gone, Question, Refused
from tests.support.training import dask_cluster
from tests.support.waiting import PATIENCE, eventually
from tests.support.workbench import load_lines

pytestmark = pytest.mark.servers


@pytest.fixture
def bench_of():
    made = []

    def bench(url: str, **config) -> Workbench:
        source = {"url": url, "retries": 0, "deadline": 5}
        settings = Config.model_validate({"prometheus": source, "jobs": {"load": {"expr": "load"}}, **config})
        made.append(Workbench(lambda: settings, lambda: Prometheus(settings.prometheus, settings.limits)))
        return made[-1]

    yield bench
    for each in made:
        each.close()


def done(bench: Workbench, name: str):
    """Return the answer once the replay has come to its end."""
    eventually(lambda: bench.answer(name).state in {"exact", "failed"}, 5 * PATIENCE)
    return bench.answer(name)


@pytest.mark.slow
def test_on_a_cluster_the_exact_replay_and_the_look_back_are_the_same(prometheus, bench_of, tmp_path, monkeypatch):
    server, now = prometheus(history=load_lines()), time.time()
    monkeypatch.setattr("exporter.preview.workbench.time.time", lambda: now)  # both look at the same samples
    question = Question("load", "new", 60.0, 20 * 3600.0, Choice(budget=500.0))
    with dask_cluster(tmp_path, workers=1) as cluster:
        here = bench_of(server.url)
        there = bench_of(server.url, train={"backend": "dask", "scheduler": cluster.address})
        mine, theirs = (done(bench, bench.start(question)) for bench in (here, there))
        assert mine.state == theirs.state == "exact"
        assert mine.decided.found > 0
        assert replace(theirs.decided, milliseconds=0.0) == replace(mine.decided, milliseconds=0.0)
        assert (theirs.series_count, theirs.start, theirs.end) == (mine.series_count, mine.start, mine.end)
        mine, theirs = (done(bench, bench.start_past(["load"], 20 * 3600.0)).past for bench in (here, there))
        assert mine.found > 0
        assert theirs == mine
        log = (tmp_path / "scheduler.log").read_text()
    assert log.count("Receive client connection") == 2, log


@pytest.mark.slow
def test_a_cluster_that_is_not_there_leaves_the_replay_to_this_machine(prometheus, bench_of):
    server = prometheus(history=load_lines())
    bench = bench_of(server.url, train={"backend": "dask", "scheduler": "tcp://127.0.0.1:9"})
    answer = done(bench, bench.start(Question("load", "new", 60.0, 20 * 3600.0, Choice(budget=500.0))))
    assert (answer.state, answer.text) == ("exact", "")


def test_its_verdicts_are_those_of_a_backtest_and_a_move_asks_for_nothing(prometheus, bench_of):
    server = prometheus(history=load_lines())
    bench = bench_of(server.url)
    name = bench.start(Question("load", "new", 60.0, 20 * 3600.0, Choice(budget=500.0)))
    answer = done(bench, name)
    assert (answer.state, answer.text) == ("exact", "")
    assert answer.series_count == 2
    assert answer.decided.exact
    job = JobConfig.model_validate(
        {"expr": "load", "history": answer.learnt if answer.learnt > 3600 else 3600.0, "budget": 500.0}
    )
    first, last = (round(np.datetime64(text[:-1]).astype("datetime64[s]").astype(int) / 60)
                   for text in (answer.start, answer.end))  # fmt: skip
    with_samples = Prometheus(Config.model_validate({"prometheus": {"url": server.url}, "jobs": {"x": job}}).prometheus,
                              Config.model_validate({"jobs": {"x": job}}).limits)  # fmt: skip
    live = make_job("new", job, with_samples, hold=True)
    flagged = {}
    for verdict in replay(live, first, last, lambda _: None):
        for row in np.flatnonzero(verdict.flag).tolist():
            flagged.setdefault((verdict.keys[row], verdict.since[row]), []).append(verdict.severity[row])
    with_samples.close()
    assert answer.decided.found == len(flagged) > 0
    assert sorted(each.severity for each in answer.decided.incidents) == sorted(max(each) for each in flagged.values())
    moved = bench.answer(name, Choice("below", 5.0, 1.0))
    assert moved.decided.found == 0
    assert "direction" not in answer.yaml
    assert "direction: below" in moved.yaml  # what is copied is what is shown


@pytest.mark.parametrize(
    ("expr", "told"),
    [("load{", "never closed"), ("lod", "gave no series"), ("sum(load", "never closed"), ("nosuch(load)", "nosuch")],
)
def test_an_expression_that_is_wrong_says_what_to_do(prometheus, bench_of, expr, told):
    bench = bench_of(prometheus(history=load_lines()[:200]).url)
    if told == "never closed":  # seen without asking the source
        with pytest.raises(Refused, match=told):
            bench.start(Question(expr, "new", 60.0, 7200.0))
        return
    answer = done(bench, bench.start(Question(expr, "new", 60.0, 7200.0)))
    assert answer.state == "failed"
    assert told in answer.text


def test_a_source_that_is_down_is_told(bench_of):
    answer = done(bench := bench_of("http://127.0.0.1:1"), bench.start(Question("load", "new", 60.0, 7200.0)))
    assert answer.state == "failed"
    assert "127.0.0.1:1" in answer.text


def test_replays_are_few_and_end_with_their_page(bench_of, monkeypatch):
    bench = bench_of("http://127.0.0.1:1")
    names = [bench.start(Question("load", "new", 60.0, 7200.0)) for _ in range(MOST)]
    for name in names:
        done(bench, name)
    third = bench.start(Question("load", "new", 60.0, 7200.0))  # in place of one that has come to its end
    with pytest.raises(Gone):
        bench.answer(names[0])
    monkeypatch.setattr("exporter.preview.workbench.KEPT", 0.0)
    eventually(lambda: not bench._sessions, 30)
    with pytest.raises(Gone):
        bench.answer(third)
    bench.cancel(third)


def test_a_job_is_checked_as_a_configuration_file_would_be(bench_of):
    bench = bench_of("http://127.0.0.1:1")
    with pytest.raises(Refused, match="is not a job name"):
        bench.start(Question("up", "a b"))
    name = bench.start(Question('up{a="x: {y}"}', "load", 300.0, 86_400.0, Choice("above", 0.5, 2.0)))
    answer = done(bench, name)
    assert "FRESH START" in answer.checked
    assert answer.yaml.splitlines()[-1] == "    budget: 2 per week"
    with pytest.raises(Refused, match="no job"):
        bench.start_past(["nosuch"], 86_400.0)


@pytest.mark.parametrize(
    ("flag", "expr", "told"),
    [
        ("--query.max-samples=100", "sum_over_time(load[6h])", ("too many samples", "expensive")),
        ("--query.timeout=1ms", "max_over_time(load[6h:1s])", ("timed out", "expensive")),
    ],
)
def test_an_expression_that_is_too_expensive_is_refused_at_once(prometheus, bench_of, flag, expr, told):
    server = prometheus(history=load_lines(), flags=[flag])
    bench = bench_of(server.url)
    answer = done(bench, bench.start(Question(expr, "new", 60.0, 36_000.0)))
    assert answer.state == "failed"
    for part in told:
        assert part in answer.text


def test_last_week_of_jobs_of_the_configuration_is_what_backtest_lists(prometheus, bench_of):
    server = prometheus(history=load_lines())
    jobs = {
        "load": {"expr": "load", "history": "2h", "budget": 500},
        "gone": {"expr": "nosuch_metric"},
        "untouched": {"expr": "load"},
    }
    bench = bench_of(server.url, jobs=jobs)
    answer = done(bench, bench.start_past(["load", "gone"], 6 * 3600.0))
    assert (answer.state, answer.decided, answer.yaml) == ("exact", None, "")
    by_job = {job.job: job for job in answer.past.jobs}
    assert by_job.keys() == {"load", "gone"}
    assert (by_job["load"].entities, by_job["load"].alerts > 0, by_job["load"].error) == (2, True, "")
    assert by_job["gone"].incidents is None
    worst = max(answer.past.incidents, key=lambda each: each.severity)
    assert (worst.job, worst.labels, worst.alert) == ("load", {"instance": "a"}, True)
    assert bench.answer(answer.id, Choice("above")).past == answer.past


def test_names_of_metrics_come_from_the_source_with_what_they_are_about(prometheus, bench_of):
    server = prometheus(scrape={"itself": ITSELF})
    server.wait_for("prometheus_http_requests_total")
    bench = bench_of(server.url)
    found = eventually(lambda: (names := bench.metrics("HTTP_requests", 5)).total and names)
    assert [each.name for each in found.metrics] == ["prometheus_http_requests_total"]
    assert (found.metrics[0].type, found.metrics[0].help) == ("counter", "Counter of HTTP requests.")
    many = bench.metrics("prom", 5)
    assert (len(many.metrics), many.total > 100) == (5, True)
    assert all(each.name.startswith("prom") for each in many.metrics)  # what begins with it comes first
    assert bench.metrics("no such metric", 5).total == 0
    server.stop()
    assert bench.metrics("prom", 5).total == many.total  # remembered for a while
    with pytest.raises(SourceError):
        bench_of(server.url).metrics("prom", 5)


def test_a_job_of_several_channels_is_replayed_as_it_is_configured_but_for_what_was_changed(prometheus, bench_of):
    server = prometheus(history=load_lines())
    jobs = {
        "both": {
            "channels": {"load": "load", "half": "load / 2"}, "entity": ["instance"], "window": "30m", "budget": 9,
            "direction": "below",
        }
    }  # fmt: skip
    bench = bench_of(server.url, jobs=jobs)
    changed = {"load": "load", "half": "load / 4"}
    question = Question("", "both", 60.0, 36_000.0, Choice("above", 0.0, 500.0), changed, "both")
    answer = done(bench, bench.start(question))
    assert (answer.state, answer.text) == ("exact", "")
    assert {curve.channel for curve in answer.decided.curves} == {"load", "half"}
    assert answer.decided.alerts > 0
    (job,) = yaml.safe_load(answer.yaml)["jobs"].values()
    assert job == {
        "channels": changed, "direction": "above", "budget": "500 per week", "entity": ["instance"], "window": "30m",
    }  # fmt: skip
    assert "both" in answer.checked
    with pytest.raises(Refused, match="no job"):
        bench.start(Question("", "new", 60.0, 36_000.0, Choice(), changed, "gone"))

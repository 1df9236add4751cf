"""A backtest spread over processes or a Dask cluster is that of one process, and in parts that of so many replicas."""

import json
import time
from contextlib import closing
from dataclasses import astuple

import numpy as np
import pytest

from deploy.demo.servers import PrometheusServer, backfill, openmetrics
from detectors.units import DAY, HOUR
from exporter.backtest import overview as overview_module
from exporter.backtest.overview import COMPLETE, NOTHING, overview
from exporter.backtest.run_prometheus import ReplayTask, backtest_prometheus
from exporter.backtest.tune import trials
from exporter.config.load import load
from exporter.parallel import on_dask
from exporter.parallel.spread import Where
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.shard import Shard
from exporter.source.prometheus import Prometheus
from tests.support.command import backtest
from tests.support.training import dask_cluster
from tests.support.waiting import PATIENCE

pytestmark = [pytest.mark.servers, pytest.mark.slow]
STEP, PAST, RANGE, ENTITIES = 600.0, DAY, DAY, 9


@pytest.fixture(scope="module")
def end():
    return (time.time() - HOUR) // DAY * DAY


@pytest.fixture(scope="module")
def url(servers, end, tmp_path_factory):
    """The address of a Prometheus with two days of two metrics, some of them with outages."""
    times = np.arange(end - PAST - RANGE, end + 1, STEP)
    rng, lines = np.random.default_rng(3), []
    for name in ("load", "errors"):
        for number in range(ENTITIES):
            values = 10 + 0.5 * rng.normal(size=len(times))
            begin = end - (2 + 2 * number) * HOUR
            values[(times > begin) & (times <= begin + HOUR)] += 15.0 * (number % 2)
            lines.extend(openmetrics(name, {"instance": f"i{number}"}, times.tolist(), values.tolist()))
    directory = tmp_path_factory.mktemp("spread")
    backfill(directory, lines, longest_block="192h")
    with PrometheusServer(directory) as server:
        yield server.url


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask"), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1") as running:
        yield running


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(on_dask, "ANSWER", PATIENCE / 2)


@pytest.fixture(scope="module")
def path(url, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "anomaly.yml"
    common = {"step": "10m", "window": "2h", "history": "1d", "rate": False, "detector": "robust"}
    jobs = {name: {"expr": name, **common} for name in ("load", "errors")}
    path.write_text(f"prometheus: {{url: '{url}'}}\njobs: {json.dumps(jobs)}")
    return path


@pytest.fixture
def place(dask):
    return lambda backend, shards=1: Where(backend, dask.address if backend == "dask" else None, 2, shards)


def told(found):
    """Return all that an overview says, in a form that compares, NaN included."""
    each = [repr(astuple(incident)) for incident in found.incidents]
    jobs = [(job.name, job.error, job.past.alerts, job.past.share_judged, job.past.entities) for job in found.jobs]
    return each, jobs, found.alerts, found.budget


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_the_list_is_the_same_wherever_the_jobs_are_judged(path, end, place, backend):
    config = load(path).config
    here = overview(config, config.jobs, end - RANGE, end, hold=True)
    there = overview(config, config.jobs, end - RANGE, end, hold=True, where=place(backend))
    assert here.code == COMPLETE
    assert len(here.incidents) >= 4
    assert told(there) == told(here)


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_job_in_parts_is_the_same_everywhere_and_equals_so_many_replicas(path, end, place, backend):
    config, name = load(path).config, "load"
    task = ReplayTask(config, name, config.jobs[name], end - RANGE, end, hold=True)
    here, there = (backtest_prometheus(task, place(where, 2)) for where in ("sequential", backend))
    fields = ("flag", "alert", "present", "score", "severity", "expected", "lower", "upper", "deviation")
    for mine, theirs in zip(here, there, strict=True):
        assert mine.history.keys == theirs.history.keys
        assert mine.config.budget == theirs.config.budget == config.jobs[name].budget / 2
        for field in fields:
            assert np.array_equal(getattr(mine.history, field), getattr(theirs.history, field), equal_nan=True), field
    assert sorted(key for run in here for key in run.history.keys) == sorted(
        (("instance", f"i{number}"),) for number in range(ENTITIES)
    )
    assert len({result.name for run in there for result in run.results}) == ENTITIES
    for index, run in enumerate(there):  # a replica, live, one cycle after the other
        with closing(Prometheus(config.prometheus, config.limits)) as source:
            job = Job(JobSettings(name, config.jobs[name], shard=Shard(index, 2), jobs=2), source)
            for column, now in enumerate(run.history.times):
                verdict = list(evaluate(job, now + 1.0))[-1]
                rows = [run.history.keys.index(key) for key in verdict.keys]
                for field in ("score", "flag", "alert", "severity"):
                    found = getattr(run.history, field)[rows, column]
                    assert np.array_equal(found, getattr(verdict, field), equal_nan=True), field


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_other_settings_tried_elsewhere_have_the_same_figures(path, end, place, backend):
    config = load(path).config
    task = ReplayTask(config, "load", config.jobs["load"], end - RANGE, end, hold=True)
    runs = backtest_prometheus(task, place("sequential", 2))
    made = trials("load", runs, None)
    assert len(made) > 5
    assert repr(trials("load", runs, None, place(backend))) == repr(made)


@pytest.mark.parametrize("more", [(), ("--tune", "--job", "load"), ("--shards", "2", "--job", "load", "--tune")])
def test_the_command_prints_the_same(path, end, dask, more):
    asked = ("--config", path, "--from", end - RANGE, "--to", end, "--json", *more)
    here = backtest(*asked)
    there = backtest(*asked, "--backend", "dask", "--scheduler", dask.address)
    assert here.exit_code == there.exit_code == 0, there.output
    left_out = {"points_per_second"}

    def plain(text):
        return json.loads(text, object_hook=lambda each: {k: v for k, v in each.items() if k not in left_out})

    assert plain(there.stdout) == plain(here.stdout)


def test_files_are_judged_the_same(tmp_path, dask):
    rng = np.random.default_rng(2)
    for number in range(5):
        lines = [f"{60 * minute},{value:.4f}" for minute, value in enumerate(10 + rng.normal(size=300))]
        lines[200:220] = [f"{line.partition(',')[0]},90" for line in lines[200:220]]
        (tmp_path / f"s{number}.csv").write_text("\n".join(["timestamp,value", *lines]))
    for shards in ("1", "2"):
        outs = [tmp_path / f"out-{shards}-{backend}" for backend in ("sequential", "loky", "dask")]
        for out in outs:
            backend = out.name.rpartition("-")[2]
            more = ("--scheduler", dask.address) if backend == "dask" else ()
            done = backtest("--data", tmp_path, "--out", out, "--shards", shards, "--backend", backend, *more)
            assert done.exit_code == 0, done.output
        first, *others = [{file.name: file.read_bytes() for file in out.iterdir()} for out in outs]
        assert len(first) == 5
        assert all(other == first for other in others)


def test_a_worker_that_dies_costs_time_and_nothing_else(path, end, tmp_path):
    """The first to begin a task takes its worker down; the scheduler gives the task to the other one."""
    config = load(path).config
    with dask_cluster(tmp_path, workers=2) as cluster:
        where = Where("dask", cluster.address)
        here = overview(config, config.jobs, end - RANGE, end, hold=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(overview_module, "answer_task", _killed_once(tmp_path))
            there = overview(config, config.jobs, end - RANGE, end, hold=True, where=where)
    assert (tmp_path / "killed").exists()
    assert told(there) == told(here)


def _killed_once(folder):
    from tests.support.training import KilledOnce

    return KilledOnce(folder / "killed")


def test_what_kills_every_worker_is_an_error_of_its_job_and_says_what_to_do(path, end, dask, monkeypatch):
    from tests.support.training import DeadlyJob

    config = load(path).config
    monkeypatch.setattr(overview_module, "answer_task", DeadlyJob("errors"))
    dask.add_worker()
    dask.add_worker()
    dask.add_worker()
    found = overview(config, config.jobs, end - RANGE, end, hold=True, where=Where("dask", dask.address))
    assert found.jobs[0].error == ""
    assert "was killed each time it ran; where memory is short" in found.jobs[1].error


def test_a_cluster_that_cannot_be_reached_is_named_for_every_job(path, end, monkeypatch):
    monkeypatch.setattr(on_dask, "ANSWER", 1.0)
    done = backtest(
        "--config", path, "--from", end - RANGE, "--to", end, "--backend", "dask", "--scheduler", "tcp://127.0.0.1:9"
    )
    assert done.exit_code == NOTHING
    assert done.output.count("no Dask scheduler answers at tcp://127.0.0.1:9") == 2
    assert "check --scheduler" in done.output


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ("--backend", "dask"),
            "--backend dask needs the address of a scheduler: --scheduler tcp://HOST:8786, or train",
        ),
        (("--scheduler", "tcp://x:1"), "--scheduler is for jobs and parts that are spread out: add --backend dask"),
        (("--workers", "2"), "--workers is for jobs and parts that are spread out: add --backend loky"),
    ],
)
def test_flags_that_do_not_go_together_say_so(path, flags, text):
    done = backtest("--config", path, "--since", "1d", *flags)
    assert done.exit_code == 2
    assert text in done.output

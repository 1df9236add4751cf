"""Training spread over processes gives what one process gives, and no process is needed to get it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from exporter.parallel import on_dask as parallel_dask
from exporter.parallel.spread import Backend, spread
from exporter.parallel.task import Result, SpreadError
from tests.support.training import (
    DaskCluster,
    Fit,
    Trace,
    dask_cluster,
    deadly,
    fit,
    held,
    key_of_dask,
    killed_once,
    known_tasks,
    leave_trace,
    refuse_two,
    threads,
)
from tests.support.waiting import PATIENCE, eventually

FITS = [
    Fit("isolation_forest", {}, 1, 0),
    Fit("half_space_trees", {}, 2, 1),
    Fit("auto", {}, 1, 2),
    Fit("auto", {}, 3, 3),
    *([Fit("autoencoder", {"epochs": 2}, 2, 4)] if find_spec("torch") else []),
]


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1") as running:
        yield running


def everywhere(function, tasks, backend: Backend, parallel_dask: DaskCluster) -> list[Result]:
    return list(spread(function, tasks, backend, parallel_dask.address, workers=2, progress=False))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler on a busy machine may take longer to answer than a user would wait for it."""
    monkeypatch.setattr(parallel_dask, "ANSWER", PATIENCE / 2)


@pytest.fixture(scope="module")
def here() -> dict[int, Result]:
    return {result.task.seed: result for result in spread(fit, FITS, "sequential", progress=False)}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_models_are_the_same_wherever_they_are_trained(
    backend: Backend, here: dict[int, Result], dask: DaskCluster
) -> None:
    there = {result.task.seed: result for result in everywhere(fit, FITS, backend, dask)}

    assert sorted(there) == sorted(here) == list(range(len(FITS)))
    for seed, result in here.items():
        assert result.error is None
        assert there[seed].error is None
        assert result.value.keys() == there[seed].value.keys()
        for name, array in result.value.items():
            np.testing.assert_array_equal(there[seed].value[name], array, err_msg=f"{result.task}: {name}")


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_task_whose_worker_was_killed_runs_again_and_nothing_is_lost(
    backend: Backend, dask: DaskCluster, tmp_path: Path
) -> None:
    tasks = [Trace(tmp_path, number) for number in range(4)]

    def kill_the_second() -> None:
        eventually(lambda: tasks[1].runs)
        os.kill(tasks[1].runs[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_the_second)
    killer.start()
    results = everywhere(killed_once, tasks, backend, dask)
    killer.join()

    assert sorted(result.value for result in results) == [0, 1, 2, 3]
    assert len(tasks[1].runs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_task_that_kills_every_process_is_an_error_and_takes_no_other_with_it(
    backend: Backend, dask: DaskCluster, tmp_path: Path
) -> None:
    results = everywhere(deadly, [Trace(tmp_path, number) for number in range(5)], backend, dask)

    by_number = {result.task.number: result for result in results}
    assert "killed each time it ran" in by_number.pop(1).error
    assert {number: result.value for number, result in by_number.items()} == {0: 0, 2: 2, 3: 3, 4: 4}


@pytest.mark.parametrize("backend", ["sequential", "loky", "dask"])
def test_what_a_task_raises_is_its_own_result_only(backend: Backend, dask: DaskCluster) -> None:
    results = sorted(everywhere(refuse_two, range(4), backend, dask), key=lambda result: result.task)

    assert [result.value for result in results] == [0, 1, None, 3]
    assert results[2].error == "ValueError: the window has no data"


@pytest.mark.parametrize("backend", ["sequential", "loky", "dask"])
def test_every_task_has_one_thread(backend: Backend, dask: DaskCluster) -> None:
    assert {result.value for result in everywhere(threads, range(3), backend, dask)} == {1}


def test_short_tasks_travel_together(dask: DaskCluster) -> None:
    results = everywhere(key_of_dask, range(400), "dask", dask)

    assert sorted(result.task for result in results) == list(range(400))
    assert len({result.value for result in results}) < 100


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_workers_end_with_the_process_that_started_them(end: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import signal\n"
        "from pathlib import Path\n"
        "from exporter.parallel.spread import spread\n"
        "from tests.support.training import Trace, leave_trace\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which what a shell runs with & has switched off
        f"for _ in spread(leave_trace, [Trace(Path({str(tmp_path)!r}), n, 600.0) for n in range(4)], workers=2):\n"
        "    pass\n"
    )
    process = subprocess.Popen([sys.executable, script], start_new_session=True, stderr=subprocess.PIPE)
    try:
        first, second = (Trace(tmp_path, number) for number in range(2))
        eventually(lambda: first.runs and second.runs)
        if end == signal.SIGINT:  # Ctrl-C reaches all processes of a terminal
            os.killpg(process.pid, end)
        else:
            process.send_signal(end)
        _, errors = process.communicate(timeout=PATIENCE)  # the workers hold it open as long as they live
        assert errors.decode().count("Traceback") <= 1, errors.decode()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in first.runs + second.runs))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_scheduler_that_does_not_answer_is_an_error_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed  # noqa: F401 - which takes its time

    monkeypatch.setattr(parallel_dask, "ANSWER", 1.0)
    begun = time.monotonic()
    with pytest.raises(SpreadError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*check --scheduler"):
        list(spread(refuse_two, range(3), "dask", "tcp://127.0.0.1:9", progress=False))
    assert time.monotonic() - begun < 20, "Dask's own limit is half a minute"


def test_a_cluster_without_workers_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parallel_dask, "ANSWER", 10.0)
    with dask_cluster(tmp_path, workers=0) as empty, pytest.raises(SpreadError, match="has no worker: start some with"):
        list(spread(refuse_two, range(3), "dask", empty.address, progress=False))


def test_when_the_scheduler_dies_the_results_that_were_there_hold(tmp_path: Path) -> None:
    with dask_cluster(tmp_path) as mortal:
        results = spread(
            leave_trace, [Trace(tmp_path, number) for number in range(60)], "dask", mortal.address, progress=False
        )
        assert next(results).error is None
        mortal.scheduler.kill()
        with pytest.raises(SpreadError, match="went away on the way"):
            list(results)


def test_who_stops_listening_leaves_the_cluster_nothing_to_begin(dask: DaskCluster, tmp_path: Path) -> None:
    """A worker is held by its task, both are as a rule; what was sent to be the next of a worker is taken back."""
    from distributed import Client

    tasks = [Trace(tmp_path, number) for number in range(20)]
    results = spread(held, tasks, "dask", dask.address, progress=False)
    assert next(results).value == 0
    eventually(lambda: tasks[1].runs)
    results.close()
    with Client(dask.address, set_as_default=False) as client:
        eventually(lambda: client.run_on_scheduler(known_tasks) == 0)
    time.sleep(1)  # and the workers have forgotten them too
    begun = sum(bool(task.runs) for task in tasks)
    (tmp_path / "go").touch()
    everywhere(leave_trace, [Trace(tmp_path, number) for number in range(100, 104)], "dask", dask)

    assert sum(bool(task.runs) for task in tasks) == begun < 4


def test_workers_of_another_version_are_refused(dask: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_dask, "__version__", "99.0")
    with pytest.raises(SpreadError, match=r"Dask worker tcp://\S+: anomaly-exporter is \S+ here it is 99\.0"):
        everywhere(refuse_two, range(3), "dask", dask)


def test_without_dask_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpreadError, match=r"pip install 'anomaly-exporter\[dask\]'"):
        list(spread(refuse_two, range(3), "dask", "tcp://127.0.0.1:9", progress=False))


def test_dask_needs_an_address() -> None:
    with pytest.raises(SpreadError, match="--scheduler tcp://HOST:8786"):
        list(spread(refuse_two, range(3), "dask", progress=False))


def test_without_tasks_no_cluster_is_needed() -> None:
    assert list(spread(refuse_two, [], "dask", "tcp://127.0.0.1:9", progress=False)) == []

"""Work to be spread, of this module so that workers can import it, and a Dask cluster of real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from detectors import Batch, State, make
from tests.support.batches import batch, noise
from tests.support.waiting import PATIENCE, eventually


@dataclass(frozen=True)
class Fit:
    """A detector to be fitted to noise."""

    detector: str
    parameters: dict
    channels: int
    seed: int


def history(task: Fit) -> Batch:
    return batch(noise(20, task.channels, 240, task.seed))


def fit(task: Fit) -> State:
    return make({task.detector: task.parameters}, 30).fit(history(task)).state()


@dataclass(frozen=True)
class Trace:
    """A task that leaves a line with its process in a file named after it."""

    folder: Path
    number: int
    seconds: float = 0.2

    @property
    def runs(self) -> list[int]:
        path = self.folder / str(self.number)
        return [int(line) for line in path.read_text().split()] if path.exists() else []


def leave_trace(task: Trace) -> int:
    with (task.folder / str(task.number)).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(task.seconds)
    return task.number


def killed_once(task: Trace) -> int:
    """Leave a trace; number 1 then waits for the signal that kills it, the first time that it runs."""
    leave_trace(task)
    if task.number == 1 and len(task.runs) == 1:
        time.sleep(10 * PATIENCE)
    return task.number


def held(task: Trace) -> int:
    """Leave a trace; all but number 0 then wait for a file `go` in the folder."""
    leave_trace(task)
    eventually(lambda: task.number == 0 or (task.folder / "go").exists())
    return task.number


def deadly(task: Trace) -> int:
    leave_trace(task)
    if task.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return task.number


def refuse_two(number: int) -> int:
    if number == 2:
        raise ValueError("the window has no data")
    return number


def threads(_: int) -> int:
    return max((pool["num_threads"] for pool in threadpool_info()), default=1)


def key_of_dask(_: int) -> str:
    from distributed import get_worker

    return str(get_worker().get_current_task())


def known_tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


class DaskCluster:
    """A scheduler and its workers, each a process."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])} | environment
        self._file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", self._file)
        self._processes = [self.scheduler]

    @property
    def address(self) -> str:
        def written() -> str:
            assert self.scheduler.poll() is None, (self._folder / "scheduler.log").read_text()
            return self._file.read_text() if self._file.exists() else ""

        return str(json.loads(eventually(written))["address"])

    def add_worker(self, *flags: str) -> None:
        flags = ("--nthreads", "1", "--memory-limit", "0", "--death-timeout", "120", *flags)
        self._processes.append(self._start("worker", self.address, "--local-directory", self._folder, *flags))

    def stop(self) -> None:
        for process in reversed(self._processes):
            os.killpg(process.pid, signal.SIGKILL)  # all there is to lose is in a folder of the test
            process.wait()

    def _start(self, what: str, *arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, "--host", "127.0.0.1", "--no-dashboard", *map(str, arguments)]
        with (self._folder / f"{what}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, env=self._environment, start_new_session=True
            )


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, **environment: str) -> Iterator[DaskCluster]:
    cluster = DaskCluster(folder, environment)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.stop()


@dataclass(frozen=True)
class KilledOnce:
    """Answers about a job as a backtest does; the first time, the worker is killed."""

    mark: Path

    def __call__(self, task: Any) -> Any:
        from exporter.backtest.overview import answer_task

        try:
            self.mark.touch(exist_ok=False)
        except FileExistsError:
            return answer_task(task)
        os.kill(os.getpid(), signal.SIGKILL)
        return None


@dataclass(frozen=True)
class DeadlyJob:
    """Answers about jobs as a backtest does; one of them kills every worker that begins it."""

    name: str

    def __call__(self, task: Any) -> Any:
        from exporter.backtest.overview import answer_task

        if task.name == self.name:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer_task(task)

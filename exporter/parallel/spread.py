"""Fan independent tasks out over the cores of this machine (joblib's loky) or over a Dask cluster.

Every task runs on one thread and from the same seeds, wherever it runs: the numbers do not depend on where that was,
and parallel tasks do not compete for the cores.
"""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal

import joblib
import structlog
from joblib.externals.loky import get_reusable_executor

from exporter.config.sections.service import LogConfig
from exporter.observe.logs import configure
from exporter.observe.progress import Bar
from exporter.parallel.task import KILLED, Call, Result, SpreadError, Task, Value
from exporter.pipeline.shard import Shard

Backend = Literal["loky", "dask", "sequential"]
TOGETHER: Final = 2
"""Times all remaining tasks are tried in parallel; from then on each is on its own, so that one which kills its
process takes no other with it."""

log = structlog.get_logger()


def spread(
    function: Callable[[Task], Value],
    tasks: Sequence[Task],
    backend: Backend = "loky",
    scheduler: str | None = None,
    workers: int | None = None,
    progress: bool = True,
    doing: str = "training",
) -> Iterator[Result[Task, Value]]:
    """Call `function` with each of `tasks`, and yield the results as they finish.

    `function` belongs to a module; tasks and values can be pickled. What it raises is the `error` of its result. A task
    whose process died is run again; one that takes its process down every time has that as its `error`. Tasks of less
    than 0.1 s travel together. Closing the iterator, or Ctrl-C, ends the processes started here; on a cluster nothing
    new is begun, what runs at that moment comes to its end unheard.

    Parameters
    ----------
    backend
        `loky`: processes of this machine, where there is more than one task; `dask`: the cluster at `scheduler`, such
        as tcp://host:8786; `sequential`: one after the other, in this process.
    workers
        Processes of loky; default: the cores this process may use. A cluster is used as it is.
    progress
        Show a bar, on a terminal, that says what it is `doing`.

    Raises
    ------
    SpreadError
        No cluster at `scheduler`, no worker or another version of this package there, or it went away. What was
        yielded before holds.
    """
    if not tasks:
        return  # no cluster has to be there for nothing
    call = Call(function)
    workers = min(workers or joblib.cpu_count(), len(tasks))
    results: Any  # a generator, which Iterator does not say: closing() closes it when ours is
    if backend == "dask":
        from exporter.parallel.on_dask import on_cluster  # an optional dependency

        results = on_cluster(call, tasks, scheduler)
    elif backend == "loky" and workers > 1:
        results = _in_processes(call, tasks, workers)
    else:
        results = (call(task) for task in tasks)
    with ExitStack() as stack:
        bar = stack.enter_context(Bar(len(tasks), doing)) if progress else None
        for result in stack.enter_context(closing(results)):
            if bar:
                bar.add(1)
            yield result


@dataclass(frozen=True, slots=True)
class Where:
    """Where the tasks of a command run, and in how many parts each job is.

    Parameters
    ----------
    backend, scheduler, workers
        As for `spread`.
    shards : int
        Parts of a job, by entity, as so many replicas of the exporter would have them.
    """

    backend: Backend = "sequential"
    scheduler: str | None = None
    workers: int | None = None
    shards: int = 1

    @property
    def is_here(self) -> bool:
        """Whether all is one task after the other, in this process, which can then say how far each is."""
        return self.backend == "sequential" and self.shards == 1

    @property
    def parts(self) -> list[Shard]:
        """The parts of a job."""
        return [Shard(index, self.shards) for index in range(self.shards)]

    def spread(
        self, function: Callable[[Task], Value], tasks: Sequence[Task], doing: str
    ) -> Iterator[Result[Task, Value]]:
        """Call `function` with each of `tasks`, as `spread` does; a bar says what it is `doing`. Raises SpreadError."""
        return spread(function, tasks, self.backend, self.scheduler, self.workers, doing=doing)

    def each(self, function: Callable[[Task], Value], tasks: Sequence[Task], doing: str) -> list[Value]:
        """Return the value of every task, in their order. Raises SpreadError, also where a task has none."""
        found: dict[int, Value] = {}
        sent = [_Sent(number, task) for number, task in enumerate(tasks)]
        for result in self.spread(_Received(function), sent, doing):
            if result.value is None:
                raise SpreadError(result.error or "a task came back without a result; run this again")
            found[result.task.number] = result.value
        return [found[number] for number in range(len(tasks))]


@dataclass(slots=True)
class _Sent(Generic[Task]):
    """A task with a number, by which its result is known."""

    number: int
    task: Task | None


@dataclass(frozen=True, slots=True)
class _Received(Generic[Task, Value]):
    """`function` of a task that was sent. It can be pickled."""

    function: Callable[[Task], Value]

    def __call__(self, sent: _Sent[Task]) -> Value:
        """Run it with the task, which does not travel back with the result."""
        configure(LogConfig(format="console", level="warning"))  # a worker has set up nothing
        task, sent.task = sent.task, None
        assert task is not None
        return self.function(task)


HERE: Final = Where()


def _in_processes(call: Call[Task, Value], tasks: Sequence[Task], workers: int) -> Iterator[Result[Task, Value]]:
    left, attempt = dict(enumerate(tasks)), 0
    try:
        while left:
            attempt += 1
            share = dict(left) if attempt <= TOGETHER else dict([next(iter(left.items()))])
            results = _parallel(call, share, workers)
            try:
                for number, result in results:
                    del left[number]
                    yield result
            except BrokenExecutor:
                log.warning("process_died", tasks_to_run_again=len(left))
                if attempt > TOGETHER:
                    number, task = share.popitem()
                    del left[number]
                    attempt = 0  # that was it: the others may run in parallel again
                    yield Result(task, error=KILLED)
            finally:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # of joblib, that somebody ends before the last task
                    results.close()
    finally:
        get_reusable_executor().shutdown(wait=True)  # else they stay for minutes, with what they have in memory


def _parallel(call: Call[Task, Value], share: dict[int, Task], workers: int) -> Any:
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1, initializer=_settle):
        # Never one worker: joblib would run that in this process. Arrays are passed as they are, not as read-only maps.
        return joblib.Parallel(n_jobs=max(workers, 2), return_as="generator_unordered", max_nbytes=None)(
            joblib.delayed(_numbered)(call, number, task) for number, task in share.items()
        )


def _numbered(call: Call[Task, Value], number: int, task: Task) -> tuple[int, Result[Task, Value]]:
    return number, call(task)


def _settle() -> None:
    """Let a new process leave Ctrl-C and the terminal to the first one, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TTY_COMPATIBLE"] = "0"  # which makes rich draw no bar of its own
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)

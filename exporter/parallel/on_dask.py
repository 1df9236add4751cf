"""Run tasks on a Dask cluster that is already there.

By Dask's own futures: joblib's backend for Dask waits for ever once a task has been lost with its workers (joblib 1.6).
"""

import importlib
import importlib.metadata
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, Final

from exporter import __version__
from exporter.parallel.task import KILLED, Call, Result, SpreadError, Task, Value

ANSWER: Final = 10.0
"""Seconds for the scheduler to answer, and for a first worker to be there."""
ALONE: Final = 60.0
"""Seconds between two looks whether the cluster still has any worker."""
LEAST: Final = 0.1
"""Seconds of work sent at once: with less, most would be sending."""


def on_cluster(call: Call[Task, Value], tasks: Sequence[Task], scheduler: str | None) -> Iterator[Result[Task, Value]]:
    """Yield what becomes of each of `tasks`, as they finish. Raises SpreadError."""
    with _client(scheduler) as client:
        from distributed.scheduler import KilledWorker

        suspects: deque[Task] = deque()
        places = 2 * sum(client.nthreads().values())  # what runs, and what each is to begin next
        for left, most in (deque(tasks), places), (suspects, 1):  # who was there when workers died runs again, alone
            sent: dict[Any, list[Task]] = {}
            size = 1
            while left or sent:
                while left and len(sent) < most:
                    batch = [left.popleft() for _ in range(min(size, len(left)))]
                    sent[client.submit(_each, call, batch, pure=False)] = batch
                for future in _done(client, list(sent)):
                    batch, error = sent.pop(future), future.exception()
                    if error is None:
                        results = future.result()
                        mean = sum(result.seconds for result in results) / len(results)
                        size = max(1, min(math.ceil(LEAST / max(mean, 1e-6)), len(left) // most))
                        yield from results
                    elif isinstance(error, KilledWorker) and left is not suspects:
                        suspects.extend(batch)
                    else:
                        text = KILLED if isinstance(error, KilledWorker) else f"{type(error).__name__}: {error}"
                        yield from (Result(task, error=text) for task in batch)


def _each(call: Call[Task, Value], batch: Sequence[Task]) -> list[Result[Task, Value]]:
    return [call(task) for task in batch]


def _done(client: Any, sent: list[Any]) -> set[Any]:
    from distributed import wait

    while True:
        try:
            with client.as_current():  # which is where wait() looks
                done: set[Any] = wait(sent, timeout=ALONE, return_when="FIRST_COMPLETED").done  # type: ignore[no-untyped-call]  # Dask's
            return done
        except TimeoutError:
            if not client.nthreads():
                raise SpreadError("the Dask cluster has no worker left: start some, then run this again") from None


@contextmanager
def _client(scheduler: str | None) -> Iterator[Any]:
    """Connect to a cluster whose workers can run us."""
    if scheduler is None:
        raise SpreadError("the backend dask needs the address of a scheduler: --scheduler tcp://HOST:8786")
    try:
        from distributed import Client
    except ImportError:
        raise SpreadError(
            "the backend dask needs the Python package distributed: pip install 'anomaly-exporter[dask]'"
        ) from None
    try:
        client = Client(scheduler, timeout=ANSWER, set_as_default=False)  # type: ignore[no-untyped-call]  # Dask's
    except (OSError, ValueError) as error:
        raise SpreadError(
            f"no Dask scheduler answers at {scheduler} ({_first_line(error)}): check --scheduler"
        ) from None
    try:
        with client:
            _check(client, scheduler)
            yield client
    except (CancelledError, OSError) as error:
        raise SpreadError(
            f"the Dask scheduler {scheduler} went away on the way ({_first_line(error)}): when it is back, run "
            f"this again"
        ) from None


def _check(client: Any, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=ANSWER)
    except TimeoutError:
        raise SpreadError(
            f"the Dask scheduler {scheduler} has no worker: start some with dask worker {scheduler} --nthreads 1"
        ) from None
    for worker, version in client.run(importlib.metadata.version, "anomaly-exporter", on_error="return").items():
        if version != __version__:
            there = "not installed" if isinstance(version, Exception) else version
            raise SpreadError(
                f"Dask worker {worker}: anomaly-exporter is {there}, here it is {__version__}; "
                f"give the workers the same environment as this one"
            )
    client.run(importlib.import_module, "anomaly_exporter")  # before anything of ours is unpickled there


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]

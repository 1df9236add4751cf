"""A task as it runs anywhere: its value or its error as a result, on one thread and from the same seeds."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
import structlog
from threadpoolctl import threadpool_limits

Task = TypeVar("Task")
Value = TypeVar("Value")

KILLED: Final = "its process was killed each time it ran; where memory is short, give each less to do: --shards"

log = structlog.get_logger()
_one_at_a_time = threading.Lock()  # seeds and thread limits are the process's, and a Dask worker may have many threads


class SpreadError(Exception):
    """The tasks cannot be handed out, or not any longer. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Result(Generic[Task, Value]):
    """What became of one task: its value, or why there is none; `seconds` of wall time where it ran."""

    task: Task
    value: Value | None = None
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Call(Generic[Task, Value]):
    """`function` as it is run everywhere: one thread, the same seeds, errors as results. It can be pickled."""

    function: Callable[[Task], Value]

    def __call__(self, task: Task) -> Result[Task, Value]:
        """Run it with `task`."""
        with _one_at_a_time, threadpool_limits(limits=1):
            random.seed(0)
            np.random.seed(0)
            begun = time.perf_counter()
            try:
                value = self.function(task)
            except Exception as error:
                log.debug("task failed", task=repr(task), exc_info=True)
                return Result(task, error=f"{type(error).__name__}: {error}", seconds=time.perf_counter() - begun)
            return Result(task, value, seconds=time.perf_counter() - begun)

"""Blocks of entities, one after the other or side by side: a warm-up has more to judge than one core can in time.

Rows of a detector do not look at each other, so the results are the same to the bit, however they are cut.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Final, TypeVar

Part = TypeVar("Part")
Value = TypeVar("Value")

SIDE_BY_SIDE: Final = 6144
"""Most rows of a block that has a thread to itself. numpy lets go of the interpreter for as long as it works on an
array: with short ones threads would wait for each other. It also takes a quarter less time than with 1,024 rows."""
_threads: ContextVar[int] = ContextVar("threads", default=1)


@contextmanager
def side_by_side(threads: int) -> Iterator[None]:
    """Let `over` work in so many threads, as long as this lasts; of one thread nothing changes."""
    token = _threads.set(threads)
    try:
        yield
    finally:
        _threads.reset(token)


def slices(count: int, rows: int) -> list[slice]:
    """Return slices of at most `rows` of `count` rows; side by side fewer and longer ones, as many for each thread.

    Examples
    --------
    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    >>> with side_by_side(2):
    ...     slices(5, 2)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    threads = _threads.get()
    if threads > 1 and count > rows:
        rows = -(-count // (threads * -(-count // (threads * max(SIDE_BY_SIDE, rows)))))
    return [slice(first, min(first + rows, count)) for first in range(0, count, rows)]


def over(function: Callable[[Part], Value], parts: Sequence[Part]) -> list[Value]:
    """Return what `function` makes of each of `parts`, in their order; side by side if that is asked for."""
    threads = _threads.get()
    if threads == 1 or len(parts) < 2:
        return [function(part) for part in parts]
    return list(_pool(threads).map(function, parts))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="blocks")

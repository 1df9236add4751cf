"""How many cores judging the past may use: all there are, unless tasks have been spread over them already."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Final

MOST: Final = 8
"""Threads that judge one job: what is left to do one after the other keeps more from being of use."""
FEW: Final = 1024
"""Series that one thread judges in a few milliseconds; handing them out would take longer."""
_taken: ContextVar[bool] = ContextVar("taken", default=False)


@contextmanager
def one_core() -> Iterator[None]:
    """Let `cores` be 1 as long as this lasts: the others have tasks of their own."""
    token = _taken.set(True)
    try:
        yield
    finally:
        _taken.reset(token)


def cores(series: int) -> int:
    """Return how many threads may judge the past of so many series."""
    return 1 if series <= FEW or _taken.get() else _available()


@cache
def _available() -> int:
    from joblib import cpu_count  # knows of the limits of a container; slow to import

    return min(int(cpu_count()), MOST)

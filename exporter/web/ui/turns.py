"""Answers are made one at a time: a page shall not take the processor from the cycles twice."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")
MANY = "Many pages are being made at once; try again in a moment."


class Busy(Exception):
    """Too many wait already."""


class Turn:
    """Runs calls in a thread, one after the other.

    Parameters
    ----------
    most : int
        Requests that may wait; further ones are refused.
    """

    def __init__(self, most: int) -> None:
        self._turn, self._most, self._waiting = asyncio.Lock(), most, 0

    async def run(self, call: Callable[[], T]) -> T:
        """Return what `call` returns. Raises Busy, and whatever it raises."""
        if self._waiting >= self._most:
            raise Busy
        self._waiting += 1
        try:
            async with self._turn:
                return await run_in_threadpool(call)
        finally:
            self._waiting -= 1

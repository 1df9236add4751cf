"""How much of the source's time people may use for questions of their own: seconds and samples within ten minutes."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

PER: Final = 600.0
"""Seconds in which the budget is spent."""
SECONDS: Final = 60.0
SAMPLES: Final = 5_000_000


class Spent(Exception):
    """The budget is used up. The message says so, and until when."""


class QueryBudget:
    """Counts what questions have cost. Safe to use from any thread.

    Parameters
    ----------
    clock : callable returning float
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._used: deque[tuple[float, float, int]] = deque()

    def check(self) -> None:
        """Raise Spent where nothing is left."""
        with self._lock:
            now = self._clock()
            while self._used and self._used[0][0] <= now - PER:
                self._used.popleft()
            seconds, samples = sum(each[1] for each in self._used), sum(each[2] for each in self._used)
            if seconds < SECONDS and samples < SAMPLES:
                return
            wait = max(self._used[0][0] + PER - now, 1.0)
        raise Spent(
            f"The budget for such questions is used up: {seconds:.0f} s and {samples:,} samples of the source in ten "
            f"minutes, of {SECONDS:.0f} s and {SAMPLES:,}. Ask again in {wait:.0f} s, or for what the exporter "
            "remembers, without an expression."
        )

    def note(self, seconds: float, samples: int) -> None:
        """Note what a question has cost."""
        with self._lock:
            self._used.append((self._clock(), seconds, samples))

"""How much of the source a warm-up may take: one question about the past at a time, with pauses in between."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOOK: Final = 0.2
"""Seconds between two looks whether the reader is wanted any longer."""
_AT_ONCE: Final = 30.0
"""Seconds of pauses that may be put off: a short past, such as the first hours of very many series, is read in one
go. A source that was left alone for so long has them to spare."""
PAST: Final = 100
"""Columns from which on a read is one of the past, which has time."""


class Unwanted(Exception):
    """Nobody waits for the answer any longer."""


class Pace:
    """Keeps questions about the past, of all jobs together, within a share of the time. Safe from several threads.

    One is asked at a time. Whoever took t seconds owes a pause of t (1 / share - 1). Up to 30 s of pauses are put off,
    those beyond are made: in any T seconds the source works on such questions for at most share (T + 30 s), and one
    question.

    Parameters
    ----------
    share : float
        Above 0, at most 1.
    """

    def __init__(self, share: float) -> None:
        self._pauses = 1 / share - 1
        self._asking = threading.Lock()
        self._free_at = -math.inf
        """When all pauses are over that are owed."""

    @contextmanager
    def turn(self, unwanted: threading.Event) -> Iterator[None]:
        """Wait for a turn; what is asked until this ends counts. Raises Unwanted as soon as that is set."""
        while not self._asking.acquire(timeout=_LOOK):
            if unwanted.is_set():
                raise Unwanted
        try:
            if unwanted.wait(max(self._free_at - _AT_ONCE - time.monotonic(), 0.0)):
                raise Unwanted
            began = time.monotonic()
            try:
                yield
            finally:
                took = time.monotonic() - began
                self._free_at = max(self._free_at, began) + took + took * self._pauses
        finally:
            self._asking.release()

"""How much of the source a warm-up may take: one question about the past at a time, with pauses in between."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOOK: Final = 0.2
"""Seconds between two looks whether the reader is wanted any longer."""
PAST: Final = 100
"""Columns from which on a read is one of the past, which has time."""


class Unwanted(Exception):
    """Nobody waits for the answer any longer."""


class Pace:
    """Keeps questions about the past, of all jobs together, within a share of the time. Safe from several threads.

    One is asked at a time. Whoever took t seconds is followed by a pause of t (1 / share - 1): over any time, the
    source works on such questions for at most `share` of it, and one question.

    Parameters
    ----------
    share : float
        Above 0, at most 1.
    """

    def __init__(self, share: float) -> None:
        self._pauses = 1 / share - 1
        self._asking = threading.Lock()
        self._free_at = 0.0

    @contextmanager
    def turn(self, unwanted: threading.Event) -> Iterator[None]:
        """Wait for a turn; what is asked until this ends counts. Raises Unwanted as soon as that is set."""
        while not self._asking.acquire(timeout=_LOOK):
            if unwanted.is_set():
                raise Unwanted
        try:
            if unwanted.wait(max(self._free_at - time.monotonic(), 0.0)):
                raise Unwanted
            began = time.monotonic()
            try:
                yield
            finally:
                ended = time.monotonic()
                self._free_at = ended + (ended - began) * self._pauses
        finally:
            self._asking.release()

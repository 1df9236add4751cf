"""Something that is looked at again and again, in a thread of its own: no cycle waits for it."""

import threading
import time
from abc import ABC, abstractmethod

import structlog

log = structlog.get_logger()


class Looking(ABC):
    """Calls `look` every so many seconds, whatever goes wrong in it.

    Parameters
    ----------
    name : str
        Of the thread; a defect is logged as `NAME_failed`.
    every : float
        Seconds between two looks.
    without : str
        What people go without while it fails.
    """

    def __init__(self, name: str, every: float, without: str) -> None:
        self._name, self._every, self._without = name, every, without
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    @abstractmethod
    def look(self, now: float) -> None:
        """Look once, at `now` (Unix seconds)."""

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; an answer under way is not waited for."""
        self._stopping.set()

    def _loop(self) -> None:
        while not self._stopping.wait(self._every):
            try:
                self.look(time.time())
            except Exception as error:  # whatever it is: all else goes on, and the next look may work
                hint = f"{self._without}; please report this with its traceback"
                log.error(f"{self._name}_failed", exc_info=error, hint=hint)

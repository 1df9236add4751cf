"""A thread that saves what a sink keeps, every ten seconds and at the end."""

import threading
from collections.abc import Callable
from typing import Final

SAVE_EVERY: Final = 10.0
"""Seconds between two writes: what happened since the last one is lost at a kill."""


class SavingThread:
    """Calls `save` again and again.

    Parameters
    ----------
    name : str
        Of the thread.
    save : callable
        Writes what has changed. It never raises.
    begin : callable
        Called once in the thread, before anything is saved.
    """

    def __init__(self, name: str, save: Callable[[], None], begin: Callable[[], None] = lambda: None) -> None:
        self._save, self._begin, self._closing = save, begin, threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Save what is left, within `timeout` seconds; at once where `start` was not called."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        else:
            self._save()

    def _run(self) -> None:
        self._begin()
        while not self._closing.wait(SAVE_EVERY):
            self._save()
        self._save()

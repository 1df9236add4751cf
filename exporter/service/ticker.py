"""When a job runs: at every whole multiple of its step, each job in a thread of its own."""

import threading
import time
from collections.abc import Callable
from typing import Final

from exporter.observe.job_metrics import JobMetrics

CLOCK_JUMP: Final = 1800.0
"""Seconds. No run takes longer (queries have deadlines): more missed time than this is a clock set forward."""


class Ticker:
    """Calls `run(now)` at once and then at every multiple of `step` on the wall clock, until stopped.

    The next boundary is computed from the clock each time, so that nothing drifts; waiting itself is monotonic.
    A run that is not over at the next boundary goes on: the boundaries it misses are counted as skipped.

    Parameters
    ----------
    name : str
        Name of the job.
    step : float
        Seconds between runs.
    run : callable taking the time (Unix seconds)
        Must not raise. Returns True if it was not a usual run: the boundaries it missed are then not counted.
    metrics : JobMetrics
        Gets lateness and skipped cycles.
    """

    def __init__(self, name: str, step: float, run: Callable[[float], bool], metrics: JobMetrics) -> None:
        self._step, self._run, self._metrics = step, run, metrics
        self._stopping = threading.Event()
        # A daemon: a query without an answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._loop, name=f"job {name}", daemon=True)

    def start(self) -> None:
        """Begin with the first run."""
        self._thread.start()

    def _loop(self) -> None:
        due = time.time()
        while True:
            now = time.time()
            self._metrics.cycle_began(late=max(now - due, 0.0))
            tick = now // self._step
            unusual = self._run(now)
            now = time.time()
            following = now // self._step + 1
            missed = following - tick - 1
            if not unusual and 0 < missed * self._step < CLOCK_JUMP:
                self._metrics.cycles_skipped(missed)
            due = following * self._step
            if self._stopping.wait(max(due - now, 0.0)):
                return

    def stop(self) -> None:
        """Begin no further run."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called: a long run should come to an end."""
        return self._stopping.is_set()

    def join(self, timeout: float) -> bool:
        """Wait for the run under way, for at most `timeout` seconds; return whether it ended."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

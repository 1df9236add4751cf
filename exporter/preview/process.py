"""The process of one replay, as the exporter sees it: what it was asked, and what it has told so far."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from exporter.preview import messages
from exporter.web.ui.bench import Choice, Gone
from exporter.web.ui.preview_answers import Decided, Past

log = structlog.get_logger()

DECIDE_WITHIN: Final = 10.0
"""Seconds for which an answer is waited for. One takes a tenth of a second, and up to a cycle's time longer while a
replay is under way."""
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


_WORKER: Final = "import anomaly_exporter; from exporter.preview.worker import main; main()"


class Replaying:
    """A process of its own, which ends with this one. Its parts may be read from any thread."""

    def __init__(self) -> None:
        environ = dict(os.environ) | dict.fromkeys(_ONE_THREAD, "1")
        command = [sys.executable, "-c", _WORKER]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
        )
        self.began = self.asked_at = time.monotonic()
        """When the replay began, and when anybody last asked for it."""
        self.progress = messages.Progress(0.0, "starting")
        self.shown: messages.Shown | None = None
        self.past: Past | None = None
        self.failed = ""
        self._number = 0
        self._answers: dict[int, Decided] = {}
        self._told = threading.Condition()
        threading.Thread(target=self._listen, name="preview", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether a replay is still under way."""
        exact = self.shown is not None and self.shown.state == "exact"
        return not (exact or self.past or self.failed)

    def ask(self, question: messages.Asked) -> None:
        """Hand over a question. Raises Gone where the process has ended."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(msgspec.json.encode(question) + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise Gone from None

    def decide(self, choice: Choice, rows: Sequence[int]) -> Decided:
        """Return what would have been found by other settings. Raises Gone."""
        with self._told:
            self._number += 1
            number = self._number
            self.ask(messages.Decide(number, choice.direction, choice.least_deviation, choice.budget, list(rows)))
            self._told.wait_for(lambda: number in self._answers or self.failed, DECIDE_WITHIN)
            if number not in self._answers:
                raise Gone
            return self._answers.pop(number)

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._take(messages.TOLD.decode(line))
        except ValueError:  # closed while it was read
            pass
        with self._told:
            if self.running:
                self.failed = "The process of the replay ended: was there too little memory? Try fewer series."
            self._told.notify_all()

    def _take(self, told: messages.Told) -> None:
        with self._told:
            match told:
                case messages.Progress():
                    self.progress = told
                case messages.Shown():
                    self.shown = told
                case messages.Found():
                    self.past = told.past
                case messages.Failed():
                    self.failed = told.text
                    if told.detail:
                        log.error("preview_failed", error=told.detail)
                case messages.Answer():
                    self._answers[told.number] = told.decided
            self._told.notify_all()

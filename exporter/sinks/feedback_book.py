"""The book of the answers: read at the start, written with every answer before anything heeds it."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from exporter.atomic_files import Lock, LockHeld, write_atomically
from exporter.config.sections.root import Config
from exporter.pipeline.expectation import JobFeedback
from exporter.sinks import checked_json
from exporter.sinks.base import Change
from exporter.sinks.feedback import FILE, Feedback, Saved, UnusableFeedback, of_jobs, read_feedback

log = structlog.get_logger()

MOST: Final = 10_000
_LEAD: Final = 2.0
"""Seconds from giving an answer until it holds: it is on the disk before the first sample that it concerns."""
_ATTEMPTS: Final = 5
_NO_FOLDER: Final = "answers are kept in the state folder, and there is none: set state: {path: …}"


class NotKept(Exception):
    """An answer was not taken. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What is known of one file."""

    file: Path | None = None
    every: tuple[Feedback, ...] = ()
    trouble: str = _NO_FOLDER


class FeedbackBook:
    """Keeps what people answered, not what was judged. Safe to use from any thread.

    A file that cannot be read is not touched: nothing that it may hold is in force, which hides no incident, and no
    answer is taken until somebody has looked at it.
    """

    def __init__(self) -> None:
        self._writing = threading.Lock()
        self._content = _Content()
        self._of = of_jobs(())
        self._version: tuple[int, int] | None = None
        self.heed: Callable[[Feedback], None] = lambda _: None
        """Called with every change, so that the jobs heed it."""

    def prepare(self, config: Config) -> Change:
        """Prepare another configuration; a file that is new to us is read, and one that was not readable again."""
        file = config.state.path / FILE if config.state else None
        if file is not None and file == self._content.file and not self._content.trouble:
            return Change()
        content = _read(file)
        return Change(lambda: self._use(content))

    def follow(self) -> bool:
        """Read the file again where another process has changed it; return whether it has."""
        file = self._content.file
        if file is None or (seen := _version(file)) == self._version:
            return False
        with self._writing:
            self._version = seen
            self._use(_read(file))
        return True

    def _use(self, content: _Content) -> None:
        self._content, self._of = content, of_jobs(content.every)
        if content.file is not None and content.trouble:
            hint = "no answer is in force: what was expected is an incident again"
            log.error("feedback_refused", file=str(content.file), error=content.trouble, hint=hint)

    @property
    def trouble(self) -> str:
        """Why no answer can be taken, "" where one can."""
        return self._content.trouble

    @property
    def is_damaged(self) -> bool:
        """Whether there may be answers that are not in force, since their file cannot be read."""
        return self._content.file is not None and bool(self._content.trouble)

    def every(self) -> tuple[Feedback, ...]:
        """Return all answers, the oldest first."""
        return self._content.every

    def of(self, job: str) -> JobFeedback:
        """Return what a job has to heed."""
        return self._of(job)

    def change(self, made: Callable[[Sequence[Feedback], float], Feedback]) -> Feedback:
        """Add an answer, or replace the one with its id.

        `made` gets all answers and the time (Unix seconds) from which the new one holds; it may raise, and then nothing
        was changed. Raises NotKept.
        """
        with self._writing:
            content = self._content
            if content.trouble or content.file is None:
                raise NotKept(content.trouble)
            try:
                content.file.parent.mkdir(parents=True, exist_ok=True)
                with Lock(content.file.with_suffix(".lock"), wait=5.0):
                    every = _together(content.every, read_feedback(content.file))
                    added, every = _written(content.file, every, made)
            except (OSError, LockHeld, UnusableFeedback) as error:
                raise NotKept(f"the answer could not be kept, and nothing has changed: {error}") from None
            self._use(_Content(content.file, tuple(every), ""))
        with suppress(Exception):  # a job that fails says so itself
            self.heed(added)
        return added


def _version(file: Path) -> tuple[int, int] | None:
    """Return what differs when a file was replaced, None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _together(known: Sequence[Feedback], read: Sequence[Feedback]) -> list[Feedback]:
    """Return what we know and what the file holds, which another process may have added to, or somebody deleted."""
    every = {each.id: each for each in (*known, *read)}
    return sorted(every.values(), key=lambda each: each.at)


def _written(
    file: Path, every: list[Feedback], made: Callable[[Sequence[Feedback], float], Feedback]
) -> tuple[Feedback, list[Feedback]]:
    """Write the file with one more answer, or one replaced, before it holds. Raises OSError, NotKept."""
    added = made(every, time.time() + _LEAD)
    for _ in range(_ATTEMPTS):
        after = [added if each.id == added.id else each for each in every]
        after += [added] * (len([each for each in every if each.id == added.id]) == 0)
        if len(after) > MOST:
            raise NotKept(f"there are {MOST:,} answers already; export {file}, move it away and restart to begin anew")
        write_atomically(file, checked_json.encode(Saved(after)))
        if time.time() + _LEAD / 4 < _holds_from(added):
            break
        added = _later(added, time.time() + _LEAD)  # a slow disk: samples may have been judged without it
    return added, after


def _holds_from(feedback: Feedback) -> float:
    return feedback.at if feedback.undone is None else feedback.undone.at


def _later(feedback: Feedback, at: float) -> Feedback:
    if feedback.undone is not None:
        return msgspec.structs.replace(feedback, undone=msgspec.structs.replace(feedback.undone, at=at))
    expected = feedback.expectation
    moved = None if expected is None else msgspec.structs.replace(expected, at=at)
    return msgspec.structs.replace(feedback, at=at, expectation=moved)


def _read(file: Path | None) -> _Content:
    if file is None:
        return _Content()
    try:
        return _Content(file, tuple(read_feedback(file)), "")
    except UnusableFeedback as error:
        return _Content(file, (), str(error))

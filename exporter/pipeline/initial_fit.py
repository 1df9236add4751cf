"""The model of a job that has none yet: fitted on the job's history before the first sample is judged."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from exporter.pipeline.gap_filling import fill_gaps
from exporter.pipeline.job import Job
from exporter.pipeline.window import Chunk, Window

Read = Callable[[Window, float, float], Iterator[Chunk]]
"""Reads what a window asks for from one time (Unix seconds) to another."""

HELD: Final = 8_000_000
"""Samples a model is fitted on at a start, in whole columns; 64 MB. Of a longer history it is the newest part."""


def fitted_first(job: Job, pieces: Iterator[Chunk], until: float, read: Read) -> Iterator[Chunk]:
    """Load the model of `job`, or fit one on the history up to `until` (Unix seconds); return the pieces to judge.

    At a start the pieces are the history. As long as there are few enough to hold, the model is fitted on all of them;
    of more it is fitted on the newest part, which is then read twice. A history of which the source could only give
    half is not learnt from: the next cycle reads it again. Raises SourceError.
    """
    if job.load_model():
        return pieces
    held: deque[Chunk] = deque()
    size = 0 if job.judged == -float("inf") else HELD + 1
    while size <= HELD and (piece := next(pieces, None)) is not None:
        held.append(piece)
        size += piece.size
    window, whole = job.new_window(job.history), True
    for piece in held if size <= HELD else _newest(job, until, read):
        whole &= not piece.intake.partial
        for _ in window.take(piece):
            pass  # what matters is where it ends
    if whole:
        job.fit(fill_gaps(window.newest(), job.config.fill))
    return _drained(held, pieces)


def _newest(job: Job, until: float, read: Read) -> Iterator[Chunk]:
    """Read as much of the history before `until` as may be held."""
    step = job.config.step
    now = next(read(job.new_window(1), until - step, until))
    columns = max(HELD * now.count // max(now.size, 1), job.window.samples)
    return read(job.new_window(1), until - (min(columns, job.history) - 1) * step, until)


def _drained(held: deque[Chunk], pieces: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield what is held, letting go of it, and then the rest."""
    while held:
        yield held.popleft()
    yield from pieces

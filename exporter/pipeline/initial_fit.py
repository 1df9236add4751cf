"""The model of a job that has none yet: fitted on the job's history before the first sample is judged."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from exporter.observe.stages import Measure
from exporter.pipeline.fit_progress import FitProgress
from exporter.pipeline.job import Job
from exporter.pipeline.window import Window
from exporter.source.chunks import Chunk

HELD: Final = 8_000_000
"""Samples a model is fitted on at a start, in whole columns; 64 MB. Of a longer history it is the newest part."""


def fit_on_history(job: Job, chunks: Iterator[Chunk], until: float, measure: Measure) -> Iterator[Chunk]:
    """Load the model of `job`, or fit one on the history up to `until` (Unix seconds); return the chunks to judge.

    At a start `chunks` are the history. As long as there are few enough to hold, the model is fitted on all of them;
    of more it is fitted on the newest part, which is then read twice. A history of which the source could only give
    a part is not learnt from: the next cycle reads it again. What was read before the source failed is kept, and the
    next cycle goes on from there. Raises SourceError.
    """
    if job.model.load():
        job.fit_progress = FitProgress()
        return chunks
    if job.model.learns_as_it_goes:  # nothing to read twice for
        job.model.fit(job.window.newest())
        return chunks
    read, step = job.fit_progress, job.config.step
    held = read.held
    if held:
        chunks = job.reader.fetch(held[-1].first + held[-1].count * step, until, measure)
    size = sum(chunk.size for chunk in held) if job.judged == -float("inf") else HELD + 1
    while size <= HELD and (chunk := next(chunks, None)) is not None:
        held.append(chunk)
        size += chunk.size
    window = read.window = read.window or job.new_window(job.history(until))
    for chunk in held if size <= HELD else _newest(job, window, until, measure):
        read.whole &= not chunk.stats.partial
        for _ in window.append(chunk):
            pass  # what matters is where it ends
    job.fit_progress = FitProgress()
    if read.whole:
        job.model.fit(job.learnable(window.newest()))
    return _drained(held, chunks)


def _newest(job: Job, window: Window, until: float, measure: Measure) -> Iterator[Chunk]:
    """Read as much of the history before `until` as may be held, or what `window` lacks of it."""
    step = job.config.step
    if window.until > -float("inf"):
        return job.reader.fetch(window.until + step, until, measure)
    now = next(job.reader.fetch(until - step, until, measure))
    columns = max(HELD * now.count // max(now.size, 1), job.window.samples)
    return job.reader.fetch(until - (min(columns, job.history(until)) - 1) * step, until, measure)


def _drained(held: deque[Chunk], chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield what is held, letting go of it, and then the rest."""
    while held:
        yield held.popleft()
    yield from chunks

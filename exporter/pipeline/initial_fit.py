"""The model of a job that has none yet: fitted on the job's history before the first sample is judged."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from exporter.observe.stages import Measure
from exporter.pipeline.job import Job
from exporter.pipeline.window import fill_gaps
from exporter.source.chunks import Chunk

HELD: Final = 8_000_000
"""Samples a model is fitted on at a start, in whole columns; 64 MB. Of a longer history it is the newest part."""


def fit_on_history(job: Job, chunks: Iterator[Chunk], until: float, measure: Measure) -> Iterator[Chunk]:
    """Load the model of `job`, or fit one on the history up to `until` (Unix seconds); return the chunks to judge.

    At a start `chunks` are the history. As long as there are few enough to hold, the model is fitted on all of them;
    of more it is fitted on the newest part, which is then read twice. A history of which the source could only give
    a part is not learnt from: the next cycle reads it again. Raises SourceError.
    """
    if job.model.load():
        return chunks
    held: deque[Chunk] = deque()
    size = 0 if job.judged == -float("inf") else HELD + 1
    while size <= HELD and (chunk := next(chunks, None)) is not None:
        held.append(chunk)
        size += chunk.size
    window, whole = job.new_window(job.history(until)), True
    for chunk in held if size <= HELD else _newest(job, until, measure):
        whole &= not chunk.stats.partial
        for _ in window.append(chunk):
            pass  # what matters is where it ends
    if whole:
        job.model.fit(fill_gaps(window.newest(), job.config.fill))
    return _drained(held, chunks)


def _newest(job: Job, until: float, measure: Measure) -> Iterator[Chunk]:
    """Read as much of the history before `until` as may be held."""
    step = job.config.step
    now = next(job.fetch(until - step, until, measure))
    columns = max(HELD * now.count // max(now.size, 1), job.window.samples)
    return job.fetch(until - (min(columns, job.history(until)) - 1) * step, until, measure)


def _drained(held: deque[Chunk], chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield what is held, letting go of it, and then the rest."""
    while held:
        yield held.popleft()
    yield from chunks

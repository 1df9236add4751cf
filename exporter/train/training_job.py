"""A job for offline training: no model store, its samples masked or altered, too little to learn from is an error."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from detectors.types import Batch, Flags, Key, State
from exporter.config.sections.job import JobConfig
from exporter.labelled_incidents import LabelledIncident
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.shard import Shard
from exporter.pipeline.window import Edit
from exporter.source.errors import BadAnswer
from exporter.source.samples import RangeResult, Source
from exporter.source.split_source import ListingSource
from exporter.train.errors import TooFew, TrainError

_NOTHING: Final = np.zeros((0, 0), np.bool_)


class WholeAnswers:
    """A source whose partial answers are errors: nothing must be learnt from one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        """Ask the source. Raises TrainError on a partial answer, SourceError."""
        frame = self._source.range(expr, start, end, step, max_series)
        if frame.warnings:
            raise TrainError(
                "the source sent only part of an answer (it said so in a warning); look after it, and train again"
            )
        return frame

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Ask the source. Raises SourceError."""
        return self._source.metric_types(names)

    def label_values(self, label: str, selectors: Sequence[str], start: float, end: float) -> list[str]:
        """Ask the source. Raises SourceError."""
        if not isinstance(self._source, ListingSource):
            raise BadAnswer("the source does not list the values of labels")
        return self._source.label_values(label, selectors, start, end)

    def forget(self, expr: str) -> None:
        """Forget what is known of a query that will not be asked again."""
        if isinstance(self._source, ListingSource):
            self._source.forget(expr)


def training_job(name: str, config: JobConfig, source: Source, shard: Shard, edit: Edit) -> Job:
    """Return a job for offline training whose samples pass through `edit`.

    Its cycles raise TrainError on a partial answer, and where there is too little to learn from.
    """
    return Job(JobSettings(name, config, shard=shard), WholeAnswers(source), edit=edit, too_little=_refuse)


def resume(job: Job, state: State, judged: float) -> None:
    """Let `job` go on with this model, which has judged up to `judged` (Unix seconds). Raises ValueError."""
    job.model.detector.restore(state)
    job.model.fitted, job.learnt.judged = True, judged


def _refuse(error: ValueError) -> None:
    raise TooFew(f"too little to learn from: {error}") from None


class Exclusions:
    """Makes gaps of the samples of known incidents and silences, and counts them.

    Parameters
    ----------
    known : sequence of LabelledIncident
    """

    def __init__(self, known: Sequence[LabelledIncident]) -> None:
        self._known = known
        self._start = np.array([each.start for each in known])
        self._end = np.array([each.end for each in known])
        self._rows: dict[Key, Flags] = {}
        self._last: tuple[tuple[Key, ...], Flags] = (), _NOTHING
        self._until = -np.inf
        self._digest = hashlib.blake2b(digest_size=8)
        self.samples = self.left_out = 0

    def __call__(self, batch: Batch) -> None:
        """Take out what is known to be no normal operation. What is seen again is not counted again."""
        newest, time = batch.values[:, :, -1], float(batch.times[-1])
        present = np.isfinite(newest)
        out = self.concerned(batch.keys, time)
        newest[out] = np.nan
        if time > self._until:
            self._until = time
            self.samples += int(present.sum())
            self.left_out += int(present[out].sum())
            self._digest.update(newest.tobytes())

    def concerned(self, keys: tuple[Key, ...], time: float) -> Flags:
        """Return which entities something known concerns at `time`, shape (E,)."""
        now = (self._start <= time) & (time <= self._end)
        if not now.any():
            return np.zeros(len(keys), np.bool_)
        last, matrix = self._last
        if keys is not last:
            for key in keys:
                if key not in self._rows:
                    self._rows[key] = np.array([each.concerns(key) for each in self._known], np.bool_)
            matrix = np.array([self._rows[key] for key in keys], np.bool_).reshape(len(keys), len(self._known))
            self._last = keys, matrix
        return np.asarray(matrix[:, now].any(axis=1))

    @property
    def share(self) -> float:
        """Share of the samples that was left out."""
        return self.left_out / self.samples if self.samples else 0.0

    @property
    def fingerprint(self) -> str:
        """A digest of the samples that were left in."""
        return self._digest.hexdigest()


def unedited(batch: Batch) -> None:
    """Change nothing."""
    del batch

"""A job whose samples are changed before its detector sees them: what is left out of a training, injected faults."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from detectors.types import Batch, Flags, Key, State
from exporter.config.digest import NO_DIGESTS
from exporter.config.sections.job import JobConfig
from exporter.labelled_incidents import LabelledIncident
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.job import Job
from exporter.pipeline.shard import Shard
from exporter.pipeline.window import Chunk, Window
from exporter.source.samples import Source
from exporter.train.errors import TrainError

Edit = Callable[[Batch], None]
"""Changes the newest column of a window in place."""
_NOTHING: Final = np.zeros((0, 0), np.bool_)


class EditedWindow(Window):
    """A window whose newest column passes through `edit` before anybody sees it.

    An entity whose sample is taken out stays: it was there. Raises TrainError on half an answer, from which nothing
    must be learnt.
    """

    def __init__(self, edit: Edit, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._edit = edit
        self.series = 0
        """Most series that an answer held, those of other replicas included."""

    def take(self, piece: Chunk) -> Iterator[Batch]:
        """Add the samples of `piece` as `Window.take` does, each edited."""
        if piece.intake.partial:
            raise TrainError(
                "the source sent only part of an answer (it said so in a warning); look after it, and train again"
            )
        self.series = max(self.series, *(len(labels) for labels, _ in piece.answers))
        for batch in super().take(piece):
            self._edit(batch)
            yield batch


class TrainingJob(Job):
    """A job off duty: without a store, its window edited, too little to learn from being an error."""

    def __init__(self, name: str, config: JobConfig, source: Source, shard: Shard, edit: Edit) -> None:
        super().__init__(name, config, NO_DIGESTS, source, SelfMetrics(), None, shard)
        self._edit = edit

    def new_window(self, samples: int, keys: tuple[Key, ...] = ()) -> EditedWindow:
        """Return an empty window on what the job asks. Needs `window` to have been used."""
        config = self.config
        return EditedWindow(
            self._edit,
            self._queries,
            config.step,
            samples,
            config.entity,
            config.max_series,
            lambda key: self._shard.owns(key, config.group),
            keys,
        )

    def fit(self, batch: Batch) -> None:
        """Fit the detector on `batch`. Raises TrainError where there is too little to learn from."""
        self._history_used = True
        try:
            self.detector.fit(batch)
        except ValueError as error:
            raise TrainError(f"too little to learn from: {error}") from None
        self._fitted = True

    def go_on(self, state: State, judged: float) -> None:
        """Go on as a job that has this model and has judged up to `judged` (Unix seconds). Raises ValueError."""
        self.detector.restore(state)
        self._fitted, self.judged = True, judged

    @property
    def parameters(self) -> dict[str, object]:
        """What the configuration sets of the detector."""
        return self._parameters


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

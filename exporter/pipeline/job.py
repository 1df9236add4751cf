"""A job: what is configured of it, what it has learnt, and the handle on its model."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import structlog

from detectors import State
from detectors.types import Batch, Key
from exporter.config.digest import JobDigests
from exporter.config.sections.job import DriftConfig, JobConfig
from exporter.context.own_deploys import OwnDeploys
from exporter.models import Store
from exporter.models.handle import ModelHandle
from exporter.observe.job_metrics import NO_METRICS, JobMetrics
from exporter.observe.stages import Measure
from exporter.pipeline.expectation import JobFeedback
from exporter.pipeline.fit_progress import FitProgress
from exporter.pipeline.gap_filling import fill_gaps
from exporter.pipeline.history_reach import longest_reach
from exporter.pipeline.job_reader import JobReader
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.learned_state import LearnedState
from exporter.pipeline.verdict import Verdict
from exporter.pipeline.window import Edit, Window
from exporter.source.chunks import Chunk
from exporter.source.samples import Source

log = structlog.get_logger()

LONGEST_CATCH_UP: Final = 86_400.0
"""Seconds of samples that are backfilled after a restart."""
LONGEST_MODEL_CATCH_UP: Final = 7 * 86_400.0
"""The same for a pending model, next to the cycles: by default a training ends three days ago."""
REPLAYED: Final = 60_000
"""Samples per entity looked at to replay the window at a start: a detector with a long one judges less of it."""


class Job:
    """One configured question with all that its cycles carry over: settings, what was learnt, model, window.

    Parameters
    ----------
    settings : JobSettings
        What is configured.
    source : Source
        Where the samples come from; a reload may exchange it.
    metrics : JobMetrics
        Learns what happens to the job.
    store : Store or None
        Where fitted models are kept; None fits at every start.
    edit : callable taking a Batch, optional
        Changes the newest samples of the window in place before they are judged or learnt.
    too_little : callable, optional
        Called with the error where there is too little to fit a model on. By default the log says so.
    """

    def __init__(
        self,
        settings: JobSettings,
        source: Source,
        metrics: JobMetrics = NO_METRICS,
        store: Store | None = None,
        edit: Edit | None = None,
        too_little: Callable[[ValueError], None] | None = None,
    ) -> None:
        self.settings, self.metrics = settings, metrics
        self.model = ModelHandle(settings.name, settings.model_name, settings.config, metrics, store, too_little)
        self.learnt = LearnedState(settings)
        self.reader = JobReader(settings, source, metrics)
        self.fit_progress = FitProgress()
        self.deploys: OwnDeploys | None = None
        """What was deployed; None: nobody tells."""
        self.gapless: tuple[tuple[Key, ...], float] | None = None
        """Entities and time (Unix seconds) of a coming window in which no gap is to be filled, whatever comes."""
        self._edit = edit
        self._pending: JobSettings | None = None
        self._lock = threading.Lock()
        self._reach = LONGEST_CATCH_UP
        self._window: Window | None = None

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self.settings.name

    @property
    def config(self) -> JobConfig:
        """The job's section of the configuration."""
        return self.settings.config

    @property
    def judged(self) -> float:
        """Unix seconds of the newest judged sample, -inf before the first."""
        return self.learnt.judged

    @property
    def warming(self) -> bool:
        """Whether the history is still being replayed; what is found in it is not published."""
        return self.learnt.warming

    @property
    def last(self) -> Verdict | None:
        """The newest verdict, of a run before a restart as long as there is no newer one."""
        return self.learnt.last

    @property
    def is_live(self) -> bool:
        """Whether the job judges samples as they come: neither a first model nor a warm-up is under way."""
        return self.model.fitted and not self.warming and self._window is not None

    # Reading

    @property
    def window(self) -> Window:
        """The newest samples."""
        if self._window is None:
            self._window = self.new_window(max(self.config.samples, self.model.detector.window), self.learnt.keys)
            self.learnt.keys = ()
        return self._window

    def new_window(self, samples: int, keys: tuple[Key, ...] = ()) -> Window:
        """Return an empty window of the job's entities."""
        return Window.of(self.config, samples, self.settings.owns, keys, self._edit)

    @property
    def source(self) -> Source:
        """Where the samples come from; a reload may exchange it."""
        return self.reader.source

    @source.setter
    def source(self, source: Source) -> None:
        self.reader.source = source

    def learnable(self, batch: Batch) -> Batch:
        """Return samples as a model is fitted on them: short gaps filled, without what the calendars leave out."""
        return self.learnt.calendar.learnable(fill_gaps(batch, self.config.fill))

    def history(self, until: float) -> int:
        """Return how many samples a first fill up to `until` (Unix seconds) reads. Raises SourceError."""
        reach = self.reader.reach(until, self.window.samples)
        return max(self.window.samples, round(reach.seconds / self.config.step))

    def fetch_new(self, until: float, measure: Measure, ahead: Callable[[], None] | None = None) -> Iterator[Chunk]:
        """Yield the samples that the window lacks up to `until` (Unix seconds), in chunks. Raises SourceError.

        `ahead` is called while the source computes, where the newest sample is all that the window lacks.
        """
        first = max(self.window.until + self.config.step, self.fetch_start(until))
        series = len(self.window.keys) * len(self.window.channels)
        return self.reader.fetch(first, until, measure, series, ahead)

    @property
    def is_empty(self) -> bool:
        """Whether no answer ever held a series, of whatever replica."""
        return not (self.reader.seen or self.window.keys)

    def fetch_start(self, until: float) -> float:
        """Return the time (Unix seconds) of the oldest sample that a cycle at `until` needs.

        It is the first one of the window of the first sample to judge, but none that was never asked for before: a
        warm-up that goes on after a restart sees what it would have seen without.
        """
        step, newest, learnt = self.config.step, self._newest(until), self.learnt
        if learnt.judged == -math.inf:
            return newest - (self.history(until) - 1) * step
        reach = max(self._reach, longest_reach(self.config)) if learnt.warming else self._reach
        return max(max(learnt.judged, newest - reach) - (self.window.samples - 1) * step, learnt.since)

    def start_backfill(self, first: float, until: float) -> None:
        """Begin the warm-up: the samples from `first` to `until` (Unix seconds) are what is replayed."""
        learnt, step = self.learnt, self.config.step
        learnt.since, learnt.warming = first, True
        learnt.judged = first - step
        if self.config.history in {None, "auto"} and self.history(until) <= self.window.samples:
            # Nobody asked for more than a window, so it shall not take long.
            columns = max(REPLAYED // self.model.detector.window, 1)
            learnt.judged = max(learnt.judged, self._newest(until) - columns * step)

    def backfill_progress(self, until: float) -> float:
        """Return which share of the history up to `until` (Unix seconds) was replayed, from 0 to 1."""
        learnt = self.learnt
        if not learnt.warming:
            return float(learnt.judged > -math.inf)
        return min(max((learnt.judged - learnt.since) / max(until - learnt.since, 1.0), 0.0), 1.0)

    def _newest(self, until: float) -> float:
        return math.floor(until / self.config.step) * self.config.step

    # Between two cycles

    def reconfigure(self, config: JobConfig, digests: JobDigests) -> None:
        """Let the next cycle decide by `config`, which must not differ in what shapes learning. From any thread.

        Nothing that was learnt is lost: the detector, the history, open incidents and the saved state stay. Open
        incidents are decided on again. One whose scores no longer count closes once `clear_after` has passed without a
        score that keeps it open. One that is not an alert by a stricter budget stops being one. What it takes to open
        an incident (`open_after`) concerns those that open from then on; severity goes on from where it is.

        Raises ValueError where what shapes learning differs.
        """
        if digests.learning != self.settings.digests.learning:
            raise ValueError("what the job learns differs: it needs a fresh start")
        with self._lock:
            self._pending = replace(self.settings, config=config, digests=digests)

    def offer(self, other: "Job | None") -> None:
        """Let the next cycle use the model of `other`, if that has judged all that we have; None takes it back."""
        if other is None:
            self.model.offer(None)
        else:
            self.model.offer(other.model, other.judged)

    def begin_cycle(self) -> None:
        """Swap in the settings and the model that are pending since the last cycle: never in the middle of one."""
        with self._lock:
            pending, self._pending = self._pending, None
        if pending is not None and pending.digests != self.settings.digests:
            self.settings = self.reader.settings = pending
            self.learnt.reconfigure(pending)
            log.info("job_reconfigured", job=self.name, hint="open incidents and all that was learnt stay")
        if self.model.swap_in(self.judged):
            self.learnt.restart_drift()

    def watch_drift(self, config: DriftConfig | None) -> None:
        """Watch the scores for lasting changes as `config` says, None: not at all."""
        self.learnt.watch_drift(config)

    def accept(self, keys: Iterable[Key]) -> None:
        """Let the level of open incidents be normal from the next sample on. May be called from any thread."""
        self.learnt.accept(keys)

    def heed(self, feedback: JobFeedback) -> None:
        """Heed what people answered to incidents, from the next sample on. May be called from any thread."""
        self.learnt.expected.answers, self.learnt.accepting = feedback.expected, feedback.accepted

    def with_newer_model(self, store: Store) -> "Job":
        """Return this job with the model that is current in `store`, which has yet to learn what came since.

        Raises StoreError, ValueError.
        """
        other = Job(self.settings, self.source)
        other.model, manifest = self.model.newer(store)
        other.reader.take_over(self.reader)
        other.learnt.forecast = None  # only the model is of use
        other.deploys = None if self.deploys is None else OwnDeploys(self.deploys.book)
        other._window = other.new_window(self.window.samples)
        trained_to = self._newest(manifest.trained_to)
        other._reach = LONGEST_MODEL_CATCH_UP
        other.learnt.judged = min(max(trained_to, self.judged - LONGEST_MODEL_CATCH_UP), self.judged)
        if (last := self.last) is not None:  # what is open since before that is not learnt as normal now
            rows = np.flatnonzero(last.flag & (last.since <= other.judged))
            other.learnt.incidents.hold(tuple(last.keys[row] for row in rows), last.since[rows])
        return other

    # Saved state

    def state(self) -> State:
        """Return all that the job's next cycle depends on besides the samples themselves."""
        return self.learnt.state() | self.model.state()

    def restore(self, state: State) -> None:
        """Take over what `state()` returned. Raises ValueError when it does not fit; the job is then of no more use."""
        self.model.restore(state)
        self.learnt.restore(state)

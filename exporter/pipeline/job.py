"""What a job keeps between its cycles."""

import math
import re
import threading
from collections.abc import Iterable
from typing import Final, Protocol

import numpy as np
import structlog

from detectors import Batch, Detector, Flags, Key, State, make
from detectors.entity_state import KEYS_FIELD, decode_keys, decode_text, encode_keys, encode_text
from exporter.config.digest import JobDigests
from exporter.config.sections.job import DriftConfig, JobConfig
from exporter.models import ModelMissing, ModelRefused, Store, StoreError
from exporter.models.signed_records import Manifest
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.alert_budget import Budget
from exporter.pipeline.drift import DriftWatch
from exporter.pipeline.group_score import GroupScorer
from exporter.pipeline.incidents import IncidentTracker, Policy
from exporter.pipeline.shard import Shard
from exporter.pipeline.verdict import Verdict, restored_verdict, verdict_state
from exporter.pipeline.window import Window
from exporter.promql import as_rate, bare_selector
from exporter.source.errors import BadAnswer, QueryRejected
from exporter.source.samples import Source

log = structlog.get_logger()

ALL: Final = Shard()
"""A replica that has every entity to itself."""
LONGEST_CATCH_UP: Final = 86_400.0
"""Seconds of samples that are made up for after a restart."""
LONGEST_SUCCESSION: Final = 7 * 86_400.0
"""The same for a model that shall take over, beside the cycles: by default a training ends three days ago."""
REPLAYED: Final = 60_000
"""Samples per entity looked at to replay the window at a start: a detector with a long one judges less of it."""
SHORTEST_RATE_SPAN: Final = 300.0
_COUNTER_NAME: Final = re.compile(r".*_(total|count|sum|bucket)")


class Stateful(Protocol):
    """What has a state of named arrays."""

    def state(self) -> State:
        """Return the state."""
        ...

    def restore(self, state: State) -> object:
        """Take over a state. Raises ValueError when it does not fit."""
        ...


class Job:
    """One configured question with all that its cycles carry over: window, detector, open incidents.

    Parameters
    ----------
    name : str
        Name in the configuration; the `query` label.
    config : JobConfig
    digests : JobDigests
        Of what shapes the job's learning, with which a reload keeps the job, and of what shapes its deciding.
    source : Source
    metrics : SelfMetrics
    store : Store or None
        Where fitted models are kept; None fits at every start.
    shard : Shard
        Which entities are ours; the job's budget is shared out among the replicas.
    """

    def __init__(
        self,
        name: str,
        config: JobConfig,
        digests: JobDigests,
        source: Source,
        metrics: SelfMetrics,
        store: Store | None,
        shard: Shard = ALL,
    ) -> None:
        self.name, self.config, self.digests, self.source = name, config, digests, source
        self.samples = max(2, round(config.window / config.step))
        self.detector: Detector = make(config.detector, self.samples)
        self.detector_name = config.detector if isinstance(config.detector, str) else next(iter(config.detector))
        self.policy = Policy.of(config)
        self.incidents = IncidentTracker.of(config)
        self.budget = Budget.of(config, shard.count)
        self.groups = GroupScorer.of(config)
        self.drift: DriftWatch | None = None
        """What watches the scores for lasting changes, if anything does."""
        self.judged = -math.inf
        """Unix seconds of the newest judged sample."""
        self.model_version = ""
        self.dropped: dict[str, int] = {}
        """Series left out of the newest samples, by reason."""
        self.last: Verdict | None = None
        """The newest verdict, to be shown again after a restart until there is a newer one."""
        self.warming = False
        """Whether the history is still being replayed; what is found in it is not published."""
        self.model_name = shard.model_name(name)
        """Name of the job's models in the store."""
        self._offered: Job | None = None
        self._settings: tuple[JobConfig, JobDigests] | None = None
        self._offering = threading.Lock()
        self.store = store
        self._metrics, self._shard = metrics, shard
        self._accepted: frozenset[Key] = frozenset()
        self._accepting = threading.Lock()
        self._since = -math.inf  # the time of the first sample ever read
        self._reach = LONGEST_CATCH_UP
        self._window: Window | None = None
        self._queries: dict[str, str] = {}
        self._keys: tuple[Key, ...] = ()  # of the window before a restart
        self._fitted = self._history_used = False
        self._trained_at: float | None = None

    @property
    def history(self) -> int:
        """How many samples a first fill reads."""
        return max(self.window.samples, round((self.config.history or 0.0) / self.config.step))

    def first(self, until: float) -> float:
        """Return the time (Unix seconds) of the oldest sample that a cycle at `until` needs.

        That is the first one of the window of the first sample to judge, but none that was never asked for before: a
        warm-up that goes on after a restart sees what it would have seen without.
        """
        step, newest = self.config.step, self._newest(until)
        if self.judged == -math.inf:
            return newest - (self.history - 1) * step
        reach = max(self._reach, self.history * step) if self.warming else self._reach
        return max(max(self.judged, newest - reach) - (self.window.samples - 1) * step, self._since)

    def begin(self, first: float, until: float) -> None:
        """Begin the warm-up: the samples from `first` to `until` (Unix seconds) are what is replayed."""
        self._since, self.warming = first, True
        self.judged = first - self.config.step
        if self.config.history is None:  # nobody asked for more than a window, so it shall not take long
            columns = max(REPLAYED // self.detector.window, 1)
            self.judged = max(self.judged, self._newest(until) - columns * self.config.step)

    def _newest(self, until: float) -> float:
        return math.floor(until / self.config.step) * self.config.step

    def backfill_progress(self, until: float) -> float:
        """Return which share of the history up to `until` (Unix seconds) was replayed, from 0 to 1."""
        if not self.warming:
            return float(self.judged > -math.inf)
        return min(max((self.judged - self._since) / max(until - self._since, 1.0), 0.0), 1.0)

    @property
    def window(self) -> Window:
        """The newest samples. The first use asks the source which bare metrics are counters. Raises SourceError."""
        if self._window is None:
            self._queries = self._rated(self.config.queries) if self.config.rate else self.config.queries
            self._window = self.new_window(max(self.samples, self.detector.window), self._keys)
            self._keys = ()
        return self._window

    def new_window(self, samples: int, keys: tuple[Key, ...] = ()) -> Window:
        """Return an empty window on what the job asks. Needs `window` to have been used."""
        return Window(
            self._queries,
            self.config.step,
            samples,
            self.config.entity,
            self.config.max_series,
            lambda key: self._shard.owns(key, self.config.group),
            keys,
        )

    def _rated(self, queries: dict[str, str]) -> dict[str, str]:
        bare = {channel: metric for channel, expr in queries.items() if (metric := bare_selector(expr))}
        if not bare:
            return queries
        try:
            types = self.source.metric_types(bare.values())
        except (BadAnswer, QueryRejected) as error:  # not every source has the metadata API
            log.warning(
                "metadata_unavailable", job=self.name, error=str(error), hint="counters are told by their names"
            )
            types = {}
        span = max(SHORTEST_RATE_SPAN, 4 * self.config.step)
        rated = dict(queries)
        for channel, metric in bare.items():
            # A counter that nobody scrapes right now has no metadata; the naming convention is the fallback.
            if types.get(metric, "counter" if _COUNTER_NAME.fullmatch(metric) else "gauge") == "counter":
                rated[channel] = as_rate(queries[channel], span)
                log.info("counter_to_rate", job=self.name, expr=queries[channel], judged=rated[channel])
        return rated

    @property
    def fitted(self) -> bool:
        """Whether the detector has its model, or needs none."""
        return self._fitted

    @property
    def needs_initial_fit(self) -> bool:
        """Whether the detector still lacks a model, and the history has not been looked at for one."""
        return not self._fitted and not self._history_used

    def ensure_fitted(self, batch: Batch) -> None:
        """Load the job's model, or fit one on `batch` and store it. Until that works the job is warming up."""
        if not self._fitted and not self.load_model():
            self.fit(batch)

    def load_model(self) -> bool:
        """Take the job's model from the store; return whether there was one to use."""
        return self.store is not None and self._load(self.store)

    def fit(self, batch: Batch) -> None:
        """Fit the detector on `batch` and store the model; where there is too little to learn from the log says so."""
        self._history_used = True
        try:
            self.detector.fit(batch)
        except ValueError as error:
            log.info("warming", job=self.name, detector=self.detector_name, why=str(error))
            return
        self._fitted = True
        state = self.detector.state()
        if not state:  # nothing was fitted: the detector learns as it goes
            return
        self._metrics.model_trained.labels(self.name, self.detector_name).set_to_current_time()
        if self.store is None:
            return
        try:
            manifest = self.store.save(
                job=self.model_name,
                detector=self.detector_name,
                parameters=self._parameters,
                channels=tuple(self.config.queries),
                state=state,
                trained_from=float(batch.times[0]),
                trained_to=float(batch.times[-1]),
                fingerprint=f"{batch.values.shape[0]}x{batch.values.shape[2]}",
            )
        except StoreError as error:
            log.error("model_not_saved", job=self.name, error=str(error), hint="the model stays in use until a restart")
            return
        self._serve(manifest.version, manifest.trained_at)

    @property
    def is_live(self) -> bool:
        """Whether the job judges samples as they come: neither a first model nor a warm-up is under way."""
        return self._fitted and not self.warming and self._window is not None

    def successor(self, store: Store) -> "Job":
        """Return this job with the model that `store` has in service, which has yet to learn what came since.

        Raises StoreError, ValueError.
        """
        state, manifest = self._stored_model(store)
        other = Job(self.name, self.config, self.digests, self.source, SelfMetrics(), None, self._shard)
        other.detector.restore(state)
        other._queries, other.dropped, other._fitted = self._queries, self.dropped, True
        other._window = other.new_window(self.window.samples)
        other.model_version, other._trained_at = manifest.version, manifest.trained_at
        trained_to = math.floor(manifest.trained_to / self.config.step) * self.config.step
        other._reach = LONGEST_SUCCESSION
        other.judged = min(max(trained_to, self.judged - LONGEST_SUCCESSION), self.judged)
        if (last := self.last) is not None:  # what is open since before that is not learnt as normal now
            rows = np.flatnonzero(last.flag & (last.since <= other.judged))
            other.incidents.hold(tuple(last.keys[row] for row in rows), last.since[rows])
        return other

    def offer(self, successor: "Job | None") -> None:
        """Let the next cycle use the model of `successor`, if that has judged all that we have; None takes it back."""
        with self._offering:
            self._offered = successor

    def reconfigure(self, config: JobConfig, digests: JobDigests) -> None:
        """Let the next cycle decide by `config`, which must not differ in what shapes learning. From any thread.

        Nothing that was learnt is lost: the detector, the history, open incidents and the saved state stay. Open
        incidents are decided on again. One whose scores no longer count closes once `clear_after` has passed without a
        score that keeps it open. One that is no alert by a stricter budget stops being one. What it takes to open an
        incident (`open_after`) concerns those that open from then on; severity goes on from where it is.
        """
        if digests.learning != self.digests.learning:
            raise ValueError("what the job learns differs: it needs a fresh start")
        with self._offering:
            self._settings = config, digests

    def begin_cycle(self) -> None:
        """Take up the settings and the model that were handed in since the last cycle: never in the middle of one."""
        with self._offering:
            settings, self._settings = self._settings, None
        if settings is not None:
            self._decide_by(*settings)
        self.take_over()

    def _decide_by(self, config: JobConfig, digests: JobDigests) -> None:
        if digests == self.digests:
            return
        policy, self.policy = self.policy, Policy.of(config)
        self.config, self.digests = config, digests
        self.incidents = self.incidents.reconfigured(config)
        self.budget.reconfigure(config, self._shard.count)
        self.groups.reconfigure(config)
        if self._window is not None:
            self._window.max_series = config.max_series
        if self.policy != policy and self.drift is not None:  # its scores are others from now on
            self.drift = DriftWatch(self.drift.config)
        log.info("job_reconfigured", job=self.name, hint="open incidents and all that was learnt stay")

    def take_over(self) -> None:
        """Judge with the model that was offered from now on; open incidents and the budget stay."""
        with self._offering:
            other, self._offered = self._offered, None
            if other is None or other.judged != self.judged:
                return
            before, self.detector = self.model_version, other.detector
            self._serve(other.model_version, other._trained_at)
        if self.drift is not None:  # what the old model's scores were like tells nothing of the new one's
            self.drift = DriftWatch(self.drift.config)
        self._metrics.model_loads.labels(self.name, "loaded").inc()
        log.info("model_replaced", job=self.name, version=self.model_version, before=before)

    def watch_drift(self, config: DriftConfig | None) -> None:
        """Watch the scores for lasting changes as `config` says, None: not at all. The same settings change nothing."""
        if config != (None if self.drift is None else self.drift.config):
            self.drift = None if config is None else DriftWatch(config)

    def accept(self, keys: Iterable[Key]) -> None:
        """Let the level of open incidents be normal from the next sample on. May be called from any thread."""
        with self._accepting:
            self._accepted |= frozenset(keys)

    def take_accepted(self, keys: tuple[Key, ...]) -> Flags | None:
        """Return which entities of `keys` were accepted since the last time, shape (E,); None if there was none."""
        with self._accepting:
            accepted, self._accepted = self._accepted, frozenset()
        return np.array([key in accepted for key in keys], np.bool_) if accepted else None

    def state(self) -> State:
        """Return all that the job's next cycle depends on beside the samples themselves."""
        state: State = {"judged": np.array(self.judged), "since": np.array(self._since)}
        state |= {"fitted": np.array(self._fitted), "warming": np.array(self.warming)}
        state["accepted"] = encode_keys(tuple(sorted(self._accepted)))
        state["model_version"] = encode_text(self.model_version)
        state["policy"] = encode_text(repr(self.policy))
        for name, part in self._parts.items():
            state |= {f"{name}/{field}": array for field, array in part.state().items()}
        if self.last is not None:
            state |= {f"last/{field}": array for field, array in verdict_state(self.last).items()}
        return state

    def restore(self, state: State) -> None:
        """Take over what `state()` returned. Raises ValueError when it does not fit; the job is then of no more use."""

        def of(part: str) -> State:
            return {field.removeprefix(f"{part}/"): a for field, a in state.items() if field.startswith(f"{part}/")}

        for name, part in self._parts.items():
            if name != "drift" or decode_text(state["policy"]) == repr(self.policy):  # of scores by another policy
                part.restore(of(name))
        self._accepted = frozenset(decode_keys(state["accepted"]))
        self._keys = decode_keys(state[f"incidents/{KEYS_FIELD}"])
        self._fitted, self.warming = bool(state["fitted"]), bool(state["warming"])
        self.judged, self._since = (float(state[name].astype(np.float64)) for name in ("judged", "since"))
        if version := decode_text(state["model_version"]):
            self._serve(version, trained_at=None)
        if last := of("last"):
            self.last = restored_verdict(
                last,
                job=self.name,
                detector=self.detector_name,
                channels=tuple(self.config.queries),
                model_version=version,
            )

    @property
    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {"detector": self.detector, "incidents": self.incidents}
        parts |= {"budget": self.budget, "groups": self.groups}
        return parts if self.drift is None else {**parts, "drift": self.drift}

    @property
    def _parameters(self) -> dict[str, object]:
        spec = self.config.detector
        return {} if isinstance(spec, str) else spec[self.detector_name]

    def _stored_model(self, store: Store) -> tuple[State, Manifest]:
        return store.load(
            job=self.model_name,
            detector=self.detector_name,
            parameters=self._parameters,
            channels=tuple(self.config.queries),
        )

    def _load(self, store: Store) -> bool:
        loads = self._metrics.model_loads
        try:
            state, manifest = self._stored_model(store)
            self.detector.restore(state)
        except ModelMissing:
            loads.labels(self.name, "missing").inc()
            return False
        except (StoreError, ValueError) as error:
            refused = isinstance(error, ModelRefused | ValueError)
            loads.labels(self.name, "refused" if refused else "unreachable").inc()
            event = "model_refused" if refused else "model_store_down"
            log.error(event, job=self.name, error=str(error), hint="a new model is fitted")
            return False
        loads.labels(self.name, "loaded").inc()
        self._fitted = True
        self._serve(manifest.version, manifest.trained_at)
        return True

    def _serve(self, version: str, trained_at: float | None) -> None:
        if self.model_version:
            self._metrics.model_info.remove(self.name, self.detector_name, self.model_version)
        self.model_version = version
        if trained_at is not None:
            self._metrics.model_trained.labels(self.name, self.detector_name).set(trained_at)
        self._metrics.model_info.labels(self.name, self.detector_name, version).set(1)

"""The handle on a job's model: load it, fit it, exchange it for a newer one between two cycles."""

import threading
import time
from collections.abc import Callable

import numpy as np
import structlog

from detectors import Batch, Detector, State, make
from detectors.entity_state import decode_text, encode_text
from detectors.stateful import StatefulDetector
from exporter.config.sections.job import JobConfig
from exporter.models.errors import ModelMissing, ModelRefused, StoreError
from exporter.models.signed_records import Manifest
from exporter.models.store import Store
from exporter.observe.job_metrics import NO_METRICS, JobMetrics

log = structlog.get_logger()


class ModelHandle:
    """The detector of a job, and where its model comes from.

    Parameters
    ----------
    job : str
        Name of the job, for the log.
    name : str
        Name of its models in the store.
    config : JobConfig
        Says which detector, with which parameters, on which channels.
    metrics : JobMetrics
    store : Store or None
        Where fitted models are kept; None fits at every start.
    too_little : callable, optional
        Called with the error where there is too little to learn from. By default the log says so.
    """

    def __init__(
        self,
        job: str,
        name: str,
        config: JobConfig,
        metrics: JobMetrics = NO_METRICS,
        store: Store | None = None,
        too_little: Callable[[ValueError], None] | None = None,
    ) -> None:
        self._job, self.name, self._config, self._metrics = job, name, config, metrics
        self.store = store
        self.detector: Detector = make(config.detector, config.samples, config.peers)
        self.version = ""
        """Version of the model in use, "" where the detector has none from the store."""
        self.trained_at: float | None = None
        """Unix seconds, None where it is not known."""
        self.fitted = False
        """Whether the detector has its model, or needs none."""
        self._history_used = False
        self._too_little = too_little or self._log_too_little
        self._pending: tuple[ModelHandle, float] | None = None
        self._lock = threading.Lock()

    @property
    def needs_initial_fit(self) -> bool:
        """Whether the detector still lacks a model, and the history has not been looked at for one."""
        return not self.fitted and not self._history_used

    @property
    def learns_as_it_goes(self) -> bool:
        """Whether the detector fits nothing, but learns from sample to sample."""
        return type(self.detector).fit is StatefulDetector.fit

    def ensure_fitted(self, batch: Batch) -> None:
        """Load the model, or fit one on `batch` and store it. Until that works the job is warming up."""
        if not self.fitted and not self.load():
            self.fit(batch)

    def load(self) -> bool:
        """Take the model from the store; return whether there was one to use."""
        if self.store is None:
            return False
        try:
            state, manifest = self.stored(self.store)
            self.detector.restore(state)
        except ModelMissing:
            self._metrics.model_asked("missing")
            return False
        except (StoreError, ValueError) as error:
            refused = isinstance(error, ModelRefused | ValueError)
            self._metrics.model_asked("refused" if refused else "unreachable")
            event = "model_refused" if refused else "model_store_down"
            log.error(event, job=self._job, error=str(error), hint="a new model is fitted")
            return False
        self._metrics.model_asked("loaded")
        self.fitted = True
        self._use(manifest.version, manifest.trained_at)
        return True

    def stored(self, store: Store) -> tuple[State, Manifest]:
        """Return the model that is current in `store`. Raises StoreError."""
        config = self._config
        return store.load(
            job=self.name,
            detector=config.detector_name,
            parameters=config.detector_parameters,
            channels=tuple(config.queries),
        )

    def fit(self, batch: Batch) -> None:
        """Fit the detector on `batch` and store the model."""
        self._history_used = True
        try:
            self.detector.fit(batch)
        except ValueError as error:
            self._too_little(error)
            return
        self.fitted = True
        state = self.detector.state()
        if not state:  # nothing was fitted: the detector learns as it goes
            return
        self._metrics.model_trained(time.time())
        if self.store is None:
            return
        config = self._config
        try:
            manifest = self.store.save(
                job=self.name,
                detector=config.detector_name,
                parameters=config.detector_parameters,
                channels=tuple(config.queries),
                state=state,
                trained_from=float(batch.times[0]),
                trained_to=float(batch.times[-1]),
                fingerprint=f"{batch.values.shape[0]}x{batch.values.shape[2]}",
            )
        except StoreError as error:
            log.error("model_not_saved", job=self._job, error=str(error), hint="the model stays in use until a restart")
            return
        self._use(manifest.version, manifest.trained_at)

    def newer(self, store: Store) -> tuple["ModelHandle", Manifest]:
        """Return a handle of its own on the model that is current in `store`. Raises StoreError, ValueError."""
        state, manifest = self.stored(store)
        other = ModelHandle(self._job, self.name, self._config)
        other.detector.restore(state)
        other.fitted = True
        other.version, other.trained_at = manifest.version, manifest.trained_at
        return other, manifest

    def offer(self, other: "ModelHandle | None", judged: float = 0.0) -> None:
        """Let the next cycle swap in `other`, which has judged up to `judged` (Unix seconds); None takes it back."""
        with self._lock:
            self._pending = None if other is None else (other, judged)

    def swap_in(self, judged: float) -> bool:
        """Use the pending model if it has judged all that we have, up to `judged`; return whether it did."""
        with self._lock:
            pending, self._pending = self._pending, None
            if pending is None or pending[1] != judged:
                return False
            other, before = pending[0], self.version
            self.detector = other.detector
            self._use(other.version, other.trained_at)
        self._metrics.model_asked("loaded")
        log.info("model_replaced", job=self._job, version=self.version, before=before)
        return True

    def state(self) -> State:
        """Return what the detector has learnt, and from which model it went on."""
        state: State = {"fitted": np.array(self.fitted), "model_version": encode_text(self.version)}
        return state | {f"detector/{field}": array for field, array in self.detector.state().items()}

    def restore(self, state: State) -> None:
        """Take over what `state()` returned. Raises ValueError when it does not fit."""
        prefix = "detector/"
        own = {field.removeprefix(prefix): array for field, array in state.items() if field.startswith(prefix)}
        self.detector.restore(own)
        self.fitted = bool(state["fitted"])
        if version := decode_text(state["model_version"]):
            self._use(version, trained_at=None)

    def _use(self, version: str, trained_at: float | None) -> None:
        before, self.version, self.trained_at = self.version, version, trained_at
        if trained_at is not None:
            self._metrics.model_trained(trained_at)
        self._metrics.model_in_use(version, before)

    def _log_too_little(self, error: ValueError) -> None:
        log.info("warming", job=self._job, detector=self._config.detector_name, why=str(error))

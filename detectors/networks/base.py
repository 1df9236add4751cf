"""Base class of the detectors with a small neural network: windows, training, calibration, state."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import numpy as np
from pydantic import Field

from detectors.calibration import TailRates, score_of
from detectors.entity_state import Column, EntityState, LazyEntityState
from detectors.networks import forecast_error, online_level
from detectors.networks.training import on_one_core, require_torch, train
from detectors.networks.windows import Windows, draw
from detectors.rolling_baseline import MEAN_DEVIATION_TO_SIGMA
from detectors.stateful import LastScore, StatefulDetector
from detectors.streams import of_deviation
from detectors.types import Batch, Flags, Floats, Judgement, State
from detectors.units import DAY, WEEK

if TYPE_CHECKING:
    from torch import Generator, Tensor

LEAST_WINDOWS: Final = 30
"""Smallest number of training windows: a network would memorise fewer."""
TAILS: Final = TailRates("tail_", 1)
_BLOCK: Final = 512
_MULTIPLE: Final = 16
"""Windows are evaluated in blocks, and the last block is padded to a multiple of this: the size of a block could change
the last bit of a result."""
_LEAST_ERROR: Final = 0.05
"""Smallest usual error of a channel, in deviations: a constant channel is forecast without error."""
_FAULT: Final = 3.0
"""Multiple of the usual error from which a channel counts as a cause when an incident opens."""
_PENALTY_DAYS: Final = 1.0
"""Days of own history at which an entity is expected to reach its threshold twice as often as the pool."""
_LEAST_DAYS: Final = 0.02
"""Smallest length of own history, in days, in the short-history penalty."""


Network = Any
"""A torch.nn.Module; Any, because its parts are accessed by name."""
ForecastAndError = tuple["Tensor", "Tensor", "Tensor"]
"""Forecast in deviations, size of an error of 1 in deviations, and error; shape (N, C) each."""


@dataclass(kw_only=True)
class NetworkDetector(StatefulDetector):
    """One network for all entities of a job, on windows scaled by each series' own level and spread.

    The error of the newest sample is measured in multiples of the usual error of its channel and averaged over the
    channels. The geometric mean of this error and a moving average of the recent ones is compared with the training
    windows first, and with the entity's own history as that grows (see `detectors.calibration`): a score of 1 is what
    an entity is expected to reach about once a week. The geometric mean weakens single outliers and ends an alarm soon
    after the incident. While an incident is open nothing is learnt, and its samples are masked for the network.
    """

    window: Annotated[int, Field(ge=2, description="samples the network sees at most; default: the job's window")] = 60
    lookback: Annotated[int, Field(ge=2, le=2000, description="samples the network sees, at most the window")] = 16
    hidden: Annotated[int, Field(ge=1, le=1024, description="units of a hidden layer")] = 32
    deviations: Annotated[
        float, Field(gt=0, description="error at score 1 of an entity without history, in robust standard deviations")
    ] = 3.0
    epochs: Annotated[int, Field(ge=1, le=1000, description="passes over the training windows, at most")] = 30
    max_windows: Annotated[int, Field(ge=100, description="training windows drawn from the history")] = 8000
    min_samples: Annotated[int, Field(ge=2, description="samples before the first score")] = 10
    seed: Annotated[int, Field(ge=0, description="seed of draws and weights, for repeatable models")] = 0

    _entities: LazyEntityState = field(init=False, repr=False)
    _network: Network | None = field(init=False, repr=False)
    _usual: Floats = field(init=False, repr=False)  # (C,) errors of the pool, in deviations
    _threshold: float = field(init=False, repr=False)  # error, in usual ones, that scores 1 without own history
    _last: "LastScore[tuple[Batch, _Observed]]" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require_torch()
        self._entities, self._network, self._last = LazyEntityState(_columns, per_channel="mean"), None, LastScore()
        self._usual, self._threshold = np.full(1, np.nan), float("nan")

    def _state_of(self, channels: int) -> EntityState:
        """Return the entities' state. Raises ValueError when it, or the network, has another number of channels."""
        entities = self._entities.of(channels)
        for learnt in (entities["mean"].shape[1], len(self._usual) if self._network is not None else channels):
            if learnt != channels:
                raise ValueError(f"this detector was trained on {learnt} channels, not {channels}")
        return entities

    @abstractmethod
    def build(self, channels: int) -> Network:
        """Return an untrained network for windows of `channels` channels and `length` samples."""

    @abstractmethod
    def loss(self, network: Network, seen: "Tensor", there: "Tensor", source: "Generator") -> "Tensor":
        """Return the training loss (N,) of windows `seen` (N, C, L); `there` is 0 where a sample is missing."""

    @abstractmethod
    def evaluate(self, network: Network, seen: "Tensor", newest: "Tensor") -> ForecastAndError:
        """Return forecast and error of the newest samples (N, C) of windows `seen` (N, C, L), which are clipped."""

    @property
    def length(self) -> int:
        """Number of samples in the network's input."""
        return min(self.lookback, self.window)

    def fit(self, history: Batch) -> Self:
        """Train the network on windows of `history`. Raises ValueError when there are fewer than 30 usable ones."""
        windows = draw(history, self.length, self.min_samples, self.max_windows, self.seed)
        if len(windows) < LEAST_WINDOWS:
            raise ValueError(
                f"{len(windows)} usable windows in the history, the network needs {LEAST_WINDOWS}: set a longer history"
            )
        network = self._new(len(history.channels))
        first_holdout = train(network, self.loss, windows, self.epochs, self.seed)
        _, _, error = self._evaluate(network, windows[first_holdout:])
        usual = (
            np.array([forecast_error.quantile(channel, 0.5) for channel in error.T]) / forecast_error.MEDIAN_OF_NOISE
        )
        self._network, self._usual = network, np.fmax(usual, _LEAST_ERROR)
        error = forecast_error.mean_error(error / self._usual)
        middle, high = forecast_error.quantile(error, 0.5), forecast_error.quantile(error, 0.9)
        beyond = (self.deviations * MEAN_DEVIATION_TO_SIGMA - forecast_error.MEDIAN_OF_NOISE) / (
            forecast_error.HIGH_OF_NOISE - forecast_error.MEDIAN_OF_NOISE
        )
        self._threshold = float(forecast_error.with_recent(np.array(middle + beyond * (high - middle)), np.array(1.0)))
        return self

    def _new(self, channels: int) -> Network:
        torch = on_one_core()
        with torch.random.fork_rng(devices=[]):  # train() or restore() replaces the weights drawn here
            return self.build(channels)

    def _evaluate(self, network: Network, windows: Windows) -> Floats:
        """Return the results of `evaluate` as an array of shape (3, N, C)."""
        torch = on_one_core()
        found = np.full((3, *windows.newest.shape), np.nan)
        with torch.inference_mode():
            for first in range(0, len(windows), _BLOCK):
                block = windows[first : first + _BLOCK]
                size = len(block)
                filled = size + -size % _MULTIPLE
                seen = torch.zeros(filled, *block.seen.shape[1:])
                newest = torch.zeros(filled, block.newest.shape[1], dtype=torch.float64)
                seen[:size], newest[:size] = torch.from_numpy(block.seen), torch.from_numpy(block.newest)
                for target, result in zip(found, self.evaluate(network, seen, newest), strict=True):
                    target[first : first + size] = result[:size].numpy()
        return found

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity; NaN for all until the network is trained.

        Raises ValueError when the network was trained on another number of channels.
        """
        rows = self._state_of(len(batch.channels)).view(batch.keys)
        center, scale = online_level.known(rows, self.min_samples)
        recent = batch.last(self.length)
        displaced = online_level.is_displaced(rows, recent.values, recent.times)
        windows = Windows.of(online_level.mask_incident(rows, recent.values, displaced), center, scale, self.length)
        expected, unit, error = found = np.full((3, *center.shape), np.nan)
        ready = np.flatnonzero(np.isfinite(windows.newest).any(axis=1))
        if self._network is not None and len(ready):
            found[:, ready] = self._evaluate(self._network, windows[ready])
        x = batch.values[:, :, -1]
        with np.errstate(over="ignore", invalid="ignore"):
            expected, unit = center + expected * scale, unit * scale
            # While an incident is open, a channel at fault is either still displaced or back to normal.
            at_fault = rows["held"][:, None] & np.isfinite(rows["before"]) & np.isfinite(error)
            error = np.where(at_fault, np.where(displaced[:, :, -1], np.abs(x - rows["before"]) / unit, 0.0), error)
            expected = np.where(at_fault & displaced[:, :, -1], rows["before"], expected)
            usual = np.fmax(self._usual, rows["usual"])
            ratio = error / usual
        mean_error = forecast_error.mean_error(ratio)
        known = np.isfinite(mean_error)
        size = forecast_error.with_recent(mean_error, rows["recent"]) / self._threshold
        normalised = np.where(known, size, 0.0)[:, None]
        step = float(batch.times[-1] - batch.times[-2]) if len(batch.times) > 1 else 0.0
        self._last.keep(batch, (batch, _Observed(expected, error, ratio, mean_error, normalised, step)))
        penalty = _PENALTY_DAYS / np.maximum(rows["samples"].max(axis=1, keepdims=True) * step / DAY, _LEAST_DAYS)
        period = TAILS.evidence(rows, normalised, penalty).return_period
        score = score_of(period)
        once_a_week = TAILS.quantile(rows, penalty[:, 0], np.zeros(len(normalised), np.intp), per_week=1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = forecast_error.invert_with_recent(once_a_week * self._threshold, rows["recent"])
            half = forecast_error.single_channel(mean, np.isfinite(ratio).sum(axis=1))[:, None] * usual * unit
            lower, upper = expected - half, expected + half
        part = forecast_error.damped(ratio)
        whole = part.sum(axis=1, keepdims=True)
        share = np.divide(part, whole, out=np.full_like(part, 1.0 / part.shape[1]), where=whole > 0)
        score = np.where(known, score, np.nan)
        streams = of_deviation(score, np.copysign(ratio / MEAN_DEVIATION_TO_SIGMA, x - expected), period * WEEK)
        return Judgement(score, expected, lower, upper, np.where(known[:, None], share, np.nan), streams=streams)

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn levels and errors of entities without an incident. Only `fit` changes the network.

        Raises ValueError unless `score` was called for the same newest sample before.
        """
        if not len(fresh.times):
            return
        batch, seen = self._last.take(fresh)
        self._entities.align(fresh)
        rows = self._entities.view(fresh)
        frozen = frozen & ~rebaselined
        quiet = ~frozen & ~rows["held"]
        known, x = np.isfinite(seen.mean_error), fresh.values[:, :, -1]
        TAILS.learn(rows, seen.normalised, quiet & known, np.ones(seen.normalised.shape, np.bool_), seen.step)
        ended = online_level.record_incident(
            rows, frozen, seen.ratio > _FAULT, seen.expected, np.abs(x - seen.expected), float(fresh.times[-1])
        )
        TAILS.close(rows, ended)
        forecast_error.track_recent(rows, seen.mean_error, known, self._threshold, rebaselined)
        online_level.rebaseline(rows, np.flatnonzero(rebaselined), batch.last(self.length).values[rebaselined])
        online_level.learn(rows, x, quiet[:, None] & np.isfinite(x), seen.step)
        forecast_error.learn(rows, seen.error, quiet[:, None] & np.isfinite(seen.error), seen.step)

    def state(self) -> State:
        """Return levels, tails, usual errors and weights; empty before anything was learnt."""
        state = self._entities.state()
        if self._network is not None:
            weights = self._network.state_dict()
            state |= {f"network.{name}": tensor.numpy().copy() for name, tensor in weights.items()}
            state |= {"pool_usual": self._usual.copy(), "pool_line": np.array(self._threshold)}
        return state

    def restore(self, state: State) -> Self:
        """Load what `state()` returned. Raises ValueError when it belongs to another network."""
        weights = {name.removeprefix("network."): a for name, a in state.items() if name.startswith("network.")}
        if weights:
            usual, threshold = state.get("pool_usual"), state.get("pool_line")
            if usual is None or threshold is None or usual.ndim != 1 or threshold.ndim != 0:
                raise ValueError("the saved network lacks its usual errors")
            self._network = self._new(len(usual))
            _load(self._network, weights)
            self._usual, self._threshold = usual.astype(np.float64), float(threshold.astype(np.float64))
        if "mean" in state:  # a network that was only trained has no entities yet
            self._entities.restore(state)
            self._state_of(state["mean"].shape[1])
        return self


def _columns(channels: int) -> dict[str, Column]:
    return {**online_level.columns(channels), **forecast_error.columns(channels), **TAILS.columns()}


@dataclass(frozen=True, slots=True, eq=False)
class _Observed:
    """Intermediate results of `score` for `update`."""

    expected: Floats  # (E, C)
    error: Floats  # (E, C)
    ratio: Floats  # (E, C), in usual errors
    mean_error: Floats  # (E,), over the channels
    normalised: Floats  # (E, 1), in multiples of the threshold
    step: float


def _load(network: Network, saved: State) -> None:
    torch = on_one_core()
    wanted = network.state_dict()
    if wanted.keys() != saved.keys():
        raise ValueError(f"the saved network has other layers: {', '.join(sorted(wanted.keys() ^ saved.keys()))}")
    for name, weights in wanted.items():
        if tuple(weights.shape) != saved[name].shape:
            raise ValueError(f"the saved {name} has shape {saved[name].shape}, not {tuple(weights.shape)}")
    network.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in saved.items()})

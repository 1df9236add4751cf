"""What detectors made of a small neural network share: windows, training, calibration, state."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

import numpy as np
from pydantic import ConfigDict, Field

from detectors.calibration import TailRates, score_of
from detectors.entity_state import EntityState
from detectors.networks import forecast_error, online_level
from detectors.networks.training import on_one_core, require_torch, train
from detectors.networks.windows import Windows, draw
from detectors.rolling_baseline import MEAN_DEVIATION_TO_SIGMA
from detectors.types import Batch, Flags, Floats, Judgement, State
from detectors.units import DAY

if TYPE_CHECKING:
    from torch import Generator, Tensor

LEAST_WINDOWS: Final = 30
"""Training windows below which a network would learn them by heart."""
TAILS: Final = TailRates("tail_", 1)
_BLOCK: Final = 512
_MULTIPLE: Final = 16
"""Windows are judged in blocks, the last filled up to a multiple: an odd size would change the last bit of a result."""
_LEAST_ERROR: Final = 0.05
"""Usual error, in deviations, that no channel of the pool is below: a constant is foretold without any."""
_FAULT: Final = 3.0
"""Usual errors that put a channel among those at fault for an incident that begins."""
_YOUTH: Final = 1.0
"""Days of its own past at which an entity is still expected to reach its line twice as often as the pool does."""
_YOUNGEST: Final = 0.02


Network = Any
"""A torch.nn.Module; its parts are reached by names that its type does not know."""
Verdict = tuple["Tensor", "Tensor", "Tensor"]
"""Expected value in deviations, how large an error of 1 is in deviations, error; shape (N, C) each."""


@dataclass(kw_only=True)
class NetworkDetector(ABC):
    """One network for all entities of a job, on windows scaled by each series' own level and spread.

    The error of the newest sample, in units of what is usual for its channel, is the mean over the channels, and its
    geometric mean with that of the last minutes, so that what lasts counts and what is over does not. It is compared
    against the pool of training windows first and more and more against the entity's own past, see
    `detectors.calibration`: a score of 1 is what an entity is expected to reach about once a week.
    While an incident is open nothing is learnt, and what it has taken away is not shown to the network.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    window: Annotated[int, Field(ge=2, description="samples the network sees at most; default: the job's window")] = 60
    lookback: Annotated[int, Field(ge=2, le=2000, description="samples the network sees, at most the window")] = 16
    hidden: Annotated[int, Field(ge=1, le=1024, description="units of a hidden layer")] = 32
    deviations: Annotated[
        float, Field(gt=0, description="error of an entity without a past at score 1, in robust standard deviations")
    ] = 3.0
    epochs: Annotated[int, Field(ge=1, le=1000, description="passes over the training windows, at most")] = 30
    max_windows: Annotated[int, Field(ge=100, description="training windows drawn from the history")] = 8000
    min_samples: Annotated[int, Field(ge=2, description="samples before the first verdict")] = 10
    seed: Annotated[int, Field(ge=0, description="seed of draws and weights, for repeatable models")] = 0

    _roster: EntityState | None = field(init=False, repr=False)
    _network: Network | None = field(init=False, repr=False)
    _usual: Floats = field(init=False, repr=False)  # (C,) errors of the pool, in deviations
    _line: float = field(init=False, repr=False)  # error, in usual ones, at which an entity without a past is anomalous
    _last: "tuple[Batch, _Observed] | None" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require_torch()
        self._roster, self._network, self._last = None, None, None
        self._usual, self._line = np.full(1, np.nan), float("nan")

    def _aligned(self, channels: int) -> EntityState:
        if self._roster is None:
            self._roster = EntityState(
                {**online_level.columns(channels), **forecast_error.columns(channels), **TAILS.columns()}
            )
        for learnt in (self._roster["mean"].shape[1], len(self._usual) if self._network is not None else channels):
            if learnt != channels:
                raise ValueError(f"this detector was trained on {learnt} channels, not {channels}")
        return self._roster

    @abstractmethod
    def build(self, channels: int) -> Network:
        """Return the network for windows of `channels` channels and `length` samples."""

    @abstractmethod
    def loss(self, network: Network, seen: "Tensor", there: "Tensor", source: "Generator") -> "Tensor":
        """Return the training loss (N,) of windows (N, C, L); `there` is 0 where a sample is missing."""

    @abstractmethod
    def judge(self, network: Network, seen: "Tensor", newest: "Tensor") -> Verdict:
        """Judge the newest samples (N, C) of windows (N, C, L), whose own newest samples are clipped."""

    @property
    def length(self) -> int:
        """Samples the network sees."""
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
        error = forecast_error.together(error / self._usual)
        middle, high = forecast_error.quantile(error, 0.5), forecast_error.quantile(error, 0.9)
        beyond = (self.deviations * MEAN_DEVIATION_TO_SIGMA - forecast_error.MEDIAN_OF_NOISE) / (
            forecast_error.HIGH_OF_NOISE - forecast_error.MEDIAN_OF_NOISE
        )
        self._line = float(forecast_error.lasting(np.array(middle + beyond * (high - middle)), np.array(1.0)))
        return self

    def _new(self, channels: int) -> Network:
        torch = on_one_core()
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced by train() or restore()
            return self.build(channels)

    def _evaluate(self, network: Network, windows: Windows) -> Floats:
        """Return the verdicts of `judge` as an array of shape (3, N, C)."""
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
                for target, verdict in zip(found, self.judge(network, seen, newest), strict=True):
                    target[first : first + size] = verdict[:size].numpy()
        return found

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity; NaN for all until the network is trained.

        Raises ValueError when it was trained on another number of channels.
        """
        rows = self._aligned(len(batch.channels)).view(batch.keys)
        center, scale = online_level.known(rows, self.min_samples)
        recent = batch.last(self.length)
        away = online_level.is_away(rows, recent.values, recent.times)
        windows = Windows.of(online_level.without(rows, recent.values, away), center, scale, self.length)
        expected, unit, error = found = np.full((3, *center.shape), np.nan)
        ready = np.flatnonzero(np.isfinite(windows.newest).any(axis=1))
        if self._network is not None and len(ready):
            found[:, ready] = self._evaluate(self._network, windows[ready])
        x = batch.values[:, :, -1]
        with np.errstate(over="ignore", invalid="ignore"):
            expected, unit = center + expected * scale, unit * scale
            # While its incident is open a channel is either still away from where it was, or back.
            at_fault = rows["held"][:, None] & np.isfinite(rows["before"]) & np.isfinite(error)
            error = np.where(at_fault, np.where(away[:, :, -1], np.abs(x - rows["before"]) / unit, 0.0), error)
            expected = np.where(at_fault & away[:, :, -1], rows["before"], expected)
            usual = np.fmax(self._usual, rows["usual"])
            ratio = error / usual
        together = forecast_error.together(ratio)
        known = np.isfinite(together)
        q = np.where(known, forecast_error.lasting(together, rows["recent"]) / self._line, 0.0)[:, None]
        step = float(batch.times[-1] - batch.times[-2]) if len(batch.times) > 1 else 0.0
        self._last = batch, _Observed(expected, error, ratio, together, q, step)
        youth = _YOUTH / np.maximum(rows["samples"].max(axis=1, keepdims=True) * step / DAY, _YOUNGEST)
        score = score_of(TAILS.evidence(rows, q, youth).weeks)
        reach = TAILS.reach(rows, youth[:, 0], np.zeros(len(q), np.intp), per_week=1.0) * self._line
        with np.errstate(over="ignore", invalid="ignore"):
            half = (
                forecast_error.alone(forecast_error.at_once(reach, rows["recent"]), np.isfinite(ratio).sum(axis=1))[
                    :, None
                ]
                * usual
                * unit
            )
            lower, upper = expected - half, expected + half
        part = forecast_error.damped(ratio)
        whole = part.sum(axis=1, keepdims=True)
        share = np.divide(part, whole, out=np.full_like(part, 1.0 / part.shape[1]), where=whole > 0)
        return Judgement(
            np.where(known, score, np.nan), expected, lower, upper, np.where(known[:, None], share, np.nan)
        )

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn levels and errors of entities without an incident; the network changes only by `fit`.

        Raises ValueError unless `score` was asked for the same newest sample before.
        """
        if not len(fresh.times):
            return
        if self._last is None or self._last[0].keys is not fresh.keys or self._last[0].times[-1] != fresh.times[-1]:
            raise ValueError("update() follows score() of the same samples")
        (batch, seen), self._last = self._last, None
        roster = self._aligned(len(fresh.channels))
        roster.align(fresh.keys)
        rows = roster.view(fresh.keys)
        frozen = frozen & ~rebaselined
        quiet = ~frozen & ~rows["held"]
        known, x = np.isfinite(seen.together), fresh.values[:, :, -1]
        TAILS.learn(rows, seen.q, quiet & known, np.ones(seen.q.shape, np.bool_), seen.step)
        ended = online_level.note(
            rows, frozen, seen.ratio > _FAULT, seen.expected, np.abs(x - seen.expected), float(fresh.times[-1])
        )
        TAILS.close(rows, ended)
        forecast_error.follow(rows, seen.together, known, self._line, rebaselined)
        online_level.rebaseline(rows, np.flatnonzero(rebaselined), batch.last(self.length).values[rebaselined])
        online_level.learn(rows, x, quiet[:, None] & np.isfinite(x), seen.step)
        forecast_error.learn(rows, seen.error, quiet[:, None] & np.isfinite(seen.error), seen.step)

    def state(self) -> State:
        """Return levels, tails, usual errors and the weights; empty before anything was learnt."""
        state = {} if self._roster is None else self._roster.state()
        if self._network is not None:
            weights = self._network.state_dict()
            state |= {f"network.{name}": tensor.numpy().copy() for name, tensor in weights.items()}
            state |= {"pool_usual": self._usual.copy(), "pool_line": np.array(self._line)}
        return state

    def restore(self, state: State) -> Self:
        """Take over what `state()` returned. Raises ValueError when it is that of another network."""
        weights = {name.removeprefix("network."): a for name, a in state.items() if name.startswith("network.")}
        if weights:
            usual, line = state.get("pool_usual"), state.get("pool_line")
            if usual is None or line is None or usual.ndim != 1 or line.ndim != 0:
                raise ValueError("the saved network lacks the errors that are usual for it")
            self._network = self._new(len(usual))
            _load(self._network, weights)
            self._usual, self._line = usual.astype(np.float64), float(line.astype(np.float64))
        if "mean" in state:
            if state["mean"].ndim != 2:
                raise ValueError("the saved state holds no levels of series")
            self._roster = None
            self._aligned(state["mean"].shape[1]).restore(state)
        return self


@dataclass(frozen=True, slots=True, eq=False)
class _Observed:
    """What `score` found and `update` learns."""

    expected: Floats  # (E, C)
    error: Floats  # (E, C)
    ratio: Floats  # (E, C) in usual errors
    together: Floats  # (E,) of all channels
    q: Floats  # (E, 1) in lines
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

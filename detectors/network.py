"""What detectors made of a small neural network share: windows, training, calibration, state."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from detectors.baseline import MEAN_DEVIATION_TO_SIGMA, Baseline
from detectors.calibration import WEEK, Tails, score_of
from detectors.roster import Column, Roster
from detectors.training import Windows, draw, on_one_core, require_torch, train
from detectors.types import Batch, Flags, Floats, Judgement, State

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

LEAST_WINDOWS: Final = 100
"""Training windows below which a network would learn them by heart."""
TAILS: Final = Tails("", 1)
_BLOCK: Final = 512
_MULTIPLE: Final = 16
"""Windows are judged in blocks, the last filled up to a multiple: an odd size would change the last bit of a result."""
_LARGE: Final = 30.0
"""Usual errors beyond which a channel's part grows as a logarithm: one alone shall not drown the others."""
_WINSOR: Final = 5.0
_LEAST_ERROR: Final = 0.05
"""Usual error, in deviations, that no channel is below: a constant is foretold without any."""


@dataclass(kw_only=True)
class NetworkDetector(ABC):
    """One network for all entities of a job, on windows scaled by each entity's own level and spread.

    The error of the newest sample in units of what is usual for its channel, as a root mean square over the channels,
    is held against the pool of training windows first and more and more against the entity's own past, see
    `detectors.calibration`: a score of 1 is what an entity is expected to reach about once a week.
    While an incident is open its samples are neither part of the window nor of that past.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    window: Annotated[int, Field(ge=2, description="samples the level is taken from; default: the job's window")] = 60
    lookback: Annotated[int, Field(ge=2, le=2000, description="samples the network sees, at most the window")] = 60
    hidden: Annotated[int, Field(ge=1, le=1024, description="units of a hidden layer")] = 32
    deviations: Annotated[
        float, Field(gt=0, description="error of an entity without a past at score 1, in robust standard deviations")
    ] = 6.0
    epochs: Annotated[int, Field(ge=1, le=1000, description="passes over the training windows, at most")] = 30
    max_windows: Annotated[int, Field(ge=100, description="training windows drawn from the history")] = 8000
    min_samples: Annotated[
        int, Field(ge=2, description="samples before the first verdict, at most half the window")
    ] = 10
    seed: Annotated[int, Field(ge=0, description="seed of draws and weights, for repeatable models")] = 0

    _baseline: Baseline = field(init=False, repr=False)
    _roster: Roster | None = field(init=False, repr=False)
    _network: "nn.Module | None" = field(init=False, repr=False)
    _usual: Floats = field(init=False, repr=False)  # (C,) errors, in deviations
    _line: float = field(init=False, repr=False)  # error, in usual ones, at which an entity without a past is anomalous
    _judged: tuple[Floats, Floats, float] = field(init=False, repr=False)  # errors (E,), (E, C); seconds a step

    def __post_init__(self) -> None:
        require_torch()
        self._baseline = Baseline(self.window, self.min_samples)
        self._roster, self._network, self._usual, self._line = None, None, np.full(1, np.nan), float("nan")

    def _aligned(self, channels: int) -> Roster:
        if self._roster is None:
            own = {"usual": Column(np.nan, (channels,)), "learnt": Column(0.0, (channels,))}
            self._roster = Roster({"held": Column(False, (), np.bool_), **own, **TAILS.columns()})
        return self._roster

    @abstractmethod
    def build(self, channels: int) -> "nn.Module":
        """Return the network for windows of `channels` channels and `length` samples."""

    @abstractmethod
    def loss(self, network: "nn.Module", seen: "Tensor", there: "Tensor", source: "Generator") -> "Tensor":
        """Return the training loss (N,) of windows (N, C, L); `there` is 0 where a sample is missing."""

    @abstractmethod
    def judge(self, network: "nn.Module", seen: "Tensor", newest: "Tensor") -> tuple["Tensor", "Tensor"]:
        """Return errors and expected values (N, C) of the newest samples (N, C) of windows (N, C, L)."""

    @property
    def length(self) -> int:
        """Samples the network sees."""
        return min(self.lookback, self.window)

    def fit(self, history: Batch) -> Self:
        """Train the network on windows of `history`. Raises ValueError when there are fewer than 100 usable ones."""
        least = self._baseline.min_samples
        windows = draw(history, self.window, self.length, least, self.max_windows, self.seed)
        if len(windows) < LEAST_WINDOWS:
            raise ValueError(
                f"{len(windows)} usable windows in the history, the network needs {LEAST_WINDOWS}: set a longer history"
            )
        network = self._new(len(history.channels))
        first_held = train(network, self.loss, windows, self.epochs, self.seed)
        error, _ = self._evaluate(network, windows[first_held:])
        with np.errstate(invalid="ignore"):
            usual = np.array([_quantile(channel, 0.5) for channel in error.T]) / 0.6745  # median of |x|, if normal
        self._network, self._usual = network, np.fmax(usual, _LEAST_ERROR)
        error = _together(error / self._usual)
        middle, high = _quantile(error, 0.5), _quantile(error, 0.9)
        # The distance from the median to the quantile 0.9 of the size of normal noise is 0.97 deviations.
        self._line = middle + (self.deviations - 0.67) * (high - middle) / 0.97
        return self

    def _new(self, channels: int) -> "nn.Module":
        torch = on_one_core()
        with torch.device("meta"):  # weights are set by train() or restore(), without torch's global random numbers
            network = self.build(channels)
        return network.to_empty(device="cpu").requires_grad_(True)

    def _evaluate(self, network: "nn.Module", windows: Windows) -> tuple[Floats, Floats]:
        """Return errors and expected values, shape (N, C), in deviations."""
        torch = on_one_core()
        error, expected = (np.full(windows.newest.shape, np.nan) for _ in range(2))
        with torch.inference_mode():
            for first in range(0, len(windows), _BLOCK):
                block = windows[first : first + _BLOCK]
                size = len(block)
                filled = -(-size // _MULTIPLE) * _MULTIPLE
                seen = torch.zeros((filled, *block.seen.shape[1:]))
                newest = torch.zeros((filled, block.newest.shape[1]), dtype=torch.float64)
                seen[:size], newest[:size] = torch.from_numpy(block.seen), torch.from_numpy(block.newest)
                judged = self.judge(network, seen, newest)
                for target, found in zip((error, expected), judged, strict=True):
                    target[first : first + size] = found[:size].numpy()
        return error, expected

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity; NaN for all until the network is trained.

        Raises ValueError when it was trained on another number of channels.
        """
        level = self._baseline.level(batch)
        past = self._baseline.normal(batch)
        windows = Windows.of(past, level.center, level.scale, self.length)
        ready = np.isfinite(windows.newest).any(axis=1)
        error, expected = (np.full(windows.newest.shape, np.nan) for _ in range(2))
        if self._network is not None:
            if len(self._usual) != len(batch.channels):
                raise ValueError(f"the network was trained on {len(self._usual)} channels, not {len(batch.channels)}")
            error[ready], expected[ready] = self._evaluate(self._network, windows[ready])
        rows = self._aligned(len(batch.channels)).view(batch.keys)
        with np.errstate(over="ignore", invalid="ignore"):
            usual = np.fmax(self._usual, rows["usual"] * MEAN_DEVIATION_TO_SIGMA / level.scale)
            ratio = error / usual
        q = _together(ratio) / self._line
        known, first = np.isfinite(q), np.zeros(len(q), np.intp)
        q = np.where(known, q, 0.0)
        self._judged = q, error * level.scale, float(batch.times[-1] - batch.times[-2]) if len(batch.times) > 1 else 0.0
        youth = np.zeros((len(q), 1))
        score = score_of(TAILS.evidence(rows, q[:, None], youth).weeks)
        reach = TAILS.reach(rows, youth[:, 0], first, per_week=1.0) * self._line
        with np.errstate(over="ignore", invalid="ignore"):
            middle = level.center + expected * level.scale
            half = _alone(reach, np.isfinite(ratio).sum(axis=1))[:, None] * usual * level.scale
            lower, upper = middle - half, middle + half
        blame = np.where(np.isfinite(ratio), _damped(ratio), 0.0)
        total = blame.sum(axis=1, keepdims=True)
        share = np.divide(blame, total, out=np.full_like(blame, 1.0 / blame.shape[1]), where=total > 0)
        unknown = ~known[:, None]
        return Judgement(np.where(known, score, np.nan), middle, lower, upper, np.where(unknown, np.nan, share))

    def update(self, fresh: Batch, held: Flags, adopted: Flags) -> None:
        """Move the levels of entities without an incident and count their errors; the network changes only by `fit`.

        Raises ValueError unless `score` was asked for the same newest sample before.
        """
        if not len(fresh.times):
            return
        self._baseline.update(fresh, held, adopted)
        roster = self._aligned(len(fresh.channels))
        roster.align(fresh.keys)
        rows = roster.view(fresh.keys)
        q, error, step = self._judged
        judged, before = np.isfinite(error).any(axis=1), rows["held"].copy()
        learn = judged & ~held & ~before
        TAILS.learn(rows, q[:, None], learn, np.ones((len(learn), 1), np.bool_), step)
        TAILS.close(rows, np.flatnonzero((before & ~held) | adopted))
        rows["held"][...] = held & ~adopted
        some = learn[:, None] & np.isfinite(error)
        usual, learnt = rows["usual"], rows["learnt"]
        learnt += some
        error = np.where(learnt > 20, np.minimum(error, _WINSOR * usual), error)
        gain = np.maximum(1.0 / np.maximum(learnt, 1.0), step / WEEK)
        usual[...] = np.where(some, np.where(learnt > 1, usual + gain * (error - usual), error), usual)

    def state(self) -> State:
        """Return levels, tails, usual errors and the weights; empty before anything was learnt."""
        state = self._baseline.state()
        if self._roster is not None:
            state |= {f"own.{name}": array for name, array in self._roster.state().items()}
        if self._network is not None:
            state |= {"usual": self._usual.copy(), "line": np.array(self._line)}
            weights = self._network.state_dict()
            state |= {f"network.{name}": tensor.numpy().copy() for name, tensor in weights.items()}
        return state

    def restore(self, state: State) -> Self:
        """Take over what `state()` returned. Raises ValueError when it is that of another network."""
        parts: dict[str, State] = {"own": {}, "network": {}}
        rest = {}
        for name, array in state.items():
            part, _, inner = name.partition(".")
            parts.get(part, rest)[inner or part] = array
        usual, line = rest.pop("usual", None), rest.pop("line", None)
        self._baseline.restore(rest)
        if parts["own"]:
            self._aligned(parts["own"]["usual"].shape[1]).restore(parts["own"])
        if usual is not None and line is not None:
            if usual.ndim != 1 or line.ndim:
                raise ValueError("the saved usual errors are not those of a network")
            network = self._new(len(usual))
            _load(network, parts["network"])
            self._network, self._usual, self._line = network, usual.astype(np.float64), float(line.astype(np.float64))
        return self


def _load(network: "nn.Module", saved: State) -> None:
    torch = on_one_core()
    wanted = network.state_dict()
    if wanted.keys() != saved.keys():
        raise ValueError(f"the saved network has other layers: {', '.join(sorted(wanted.keys() ^ saved.keys()))}")
    for name, weights in wanted.items():
        if tuple(weights.shape) != saved[name].shape:
            raise ValueError(f"the saved {name} has shape {saved[name].shape}, not {tuple(weights.shape)}")
    network.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in saved.items()})


def _damped(ratio: Floats) -> Floats:
    """Return values that grow as a logarithm where they are large, in the same order."""
    with np.errstate(divide="ignore"):
        return np.where(ratio > _LARGE, _LARGE * (1.0 + np.log(np.maximum(ratio, _LARGE) / _LARGE)), ratio)


def _together(ratio: Floats) -> Floats:
    """Return the mean (N,) of the errors (N, C) of the channels that have one."""
    there = np.isfinite(ratio)
    count = there.sum(axis=1)
    total = np.where(there, _damped(ratio), 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(ratio), np.nan), where=count > 0)


def _alone(mean: Floats, channels: NDArray[np.intp]) -> Floats:
    """Return the error (N,) that makes the mean this large when that of the other channels is 0."""
    total = mean * channels
    with np.errstate(over="ignore"):
        return np.where(total > _LARGE, _LARGE * np.exp(total / _LARGE - 1.0), total)


def _quantile(values: Floats, share: float) -> float:
    """Return the quantile of the finite values, NaN where there are none."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else float("nan")

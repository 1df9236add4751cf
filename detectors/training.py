"""Training of the small networks: windows drawn from a history, and a loop that stops early and leaves outages out."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from detectors import level
from detectors.calibration import DAY
from detectors.types import Batch, Flags, Floats

if TYPE_CHECKING:
    from torch import Generator, Tensor

CLIP: Final = 10.0
"""What a network sees ends at this many deviations: beyond, all values are alike to it, though not to the score."""
_GRAIN: Final = 1024.0
"""A network sees deviations in steps of this fraction: the last bits, which change with a series' unit, are noise."""
HELD_BACK: Final = 0.2
"""Share of the windows, the newest, that decide when to stop and what error is usual."""
TRIMMED: Final = 0.1
"""Share of the windows, those fitting worst, that are not learnt from: the history may hold outages nobody labelled."""
_BATCH: Final = 128
_PATIENCE: Final = 3
_RATE: Final = 3e-3
_BLOCK: Final = 512
Loss = Callable[[Any, "Tensor", "Tensor", "Generator"], "Tensor"]
"""Network, windows (N, C, L), which samples there are (N, C, L), source of randomness -> loss of each window (N,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """What networks see: the newest L samples, in deviations from the entity's own level.

    Parameters
    ----------
    seen : array of float32, shape (N, C, L)
        Clipped; 0, the level, where there is no sample.
    there : Flags, shape (N, C, L)
    newest : Floats, shape (N, C)
        The newest sample, not clipped; NaN where there is none.
    """

    seen: NDArray[np.float32]
    there: Flags
    newest: Floats

    @classmethod
    def of(cls, values: Floats, center: Floats, scale: Floats, length: int) -> "Windows":
        """Scale samples (N, C, T) by level and spread (N, C); T is `length`, or less where there are no more."""
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = (values - center[..., None]) / scale[..., None]
        there = np.isfinite(deviation)
        newest = np.where(there[:, :, -1], deviation[:, :, -1], np.nan)
        if not there.all():  # the last sample before a gap goes on; before the first one is the level
            last = np.maximum.accumulate(np.where(there, np.arange(there.shape[2]), -1), axis=2)
            deviation = np.where(last < 0, 0.0, np.take_along_axis(deviation, np.maximum(last, 0), axis=2))
        seen = (np.rint(np.clip(deviation, -CLIP, CLIP) * _GRAIN) / _GRAIN).astype(np.float32)
        if values.shape[2] < length:
            before = ((0, 0), (0, 0), (length - values.shape[2], 0))
            seen, there = np.pad(seen, before), np.pad(there, before)
        return cls(seen, there, newest)

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, which: slice | NDArray[np.intp]) -> "Windows":
        return Windows(self.seen[which], self.there[which], self.newest[which])


def draw(history: Batch, length: int, least: int, most: int, seed: int) -> Windows:
    """Return windows at random places of `history`, `most` at most, in the order of time.

    Each is scaled by the level learnt from the samples before its newest one, as when it will be judged. A channel with
    fewer than `least` of them is not there; a window in which no channel has a newest sample is left out.
    """
    entities, channels, samples = history.values.shape
    step = float(history.times[1] - history.times[0]) if samples > 1 else 0.0
    start = max(least, int(min(samples / 4, DAY / max(step, 1.0))))  # until then only the level is learnt
    places = entities * max(samples - start, 0)
    drawn = np.random.default_rng(seed).choice(places, min(most, places), replace=False) if places else np.empty(0, int)
    rows = {name: column.rows(entities) for name, column in level.columns(channels).items()}
    none = np.empty((0, channels))
    parts = [Windows.of(np.empty((0, channels, length)), none, none, length)]
    wanted = dict(_by_time(drawn, entities, start))
    for time in range(samples):  # about 0.1 ms each: the level must be learnt in order
        if time in wanted:
            which = wanted[time]
            center, scale = level.known({name: array[which] for name, array in rows.items()}, least)
            part = Windows.of(history.values[which, :, max(time + 1 - length, 0) : time + 1], center, scale, length)
            parts.append(part[np.flatnonzero(np.isfinite(part.newest).any(axis=1))])
        x = history.values[:, :, time]
        level.learn(rows, x, np.isfinite(x), step)
    return Windows(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("seen", "there", "newest")))


def _by_time(drawn: NDArray[np.int64], entities: int, start: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each time that was drawn and the entities drawn at it."""
    ordered = np.sort(drawn)
    times, first = np.unique(ordered // max(entities, 1), return_index=True)
    yield from zip((times + start).tolist(), np.split(ordered % max(entities, 1), first[1:]), strict=False)


def require_torch() -> None:
    """Raise ValueError where torch is not installed; torch itself, seconds of start-up, is left to the first fit."""
    if find_spec("torch") is None:
        raise ValueError("this detector needs the Python package torch: pip install anomaly-exporter[torch]")


def on_one_core() -> Any:
    """Return torch, told to use one core: jobs run beside each other, and its threads would multiply with theirs."""
    import torch

    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return torch


def train(network: Any, loss: Loss, windows: Windows, epochs: int, seed: int) -> int:
    """Train `network` on all windows but those held back; return how many windows come before these.

    Adam (Kingma & Ba 2015, arXiv:1412.6980) on a trimmed loss (Rousseeuw 1984, Least Median of Squares Regression,
    doi:10.1080/01621459.1984.10477105), until the windows held back have not fitted better for three epochs. The same
    seed leads to the same weights; torch's own random numbers are neither used nor changed.
    """
    torch = on_one_core()
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in network.parameters():
            if each.ndim > 1:
                torch.nn.init.xavier_uniform_(each, generator=source)
            else:
                each.zero_()
    seen, there = torch.from_numpy(windows.seen), torch.from_numpy(windows.there.astype(np.float32))
    first_held = int(len(seen) * (1 - HELD_BACK))
    step = _adam(list(network.parameters()))
    best, waited, weights = np.inf, 0, copy.deepcopy(network.state_dict())
    console = Console(stderr=True)
    for _ in track(range(epochs), "training", console=console, transient=True, disable=not console.is_terminal):
        for rows in torch.randperm(first_held, generator=source).split(_BATCH):
            _trimmed(loss(network, seen[rows], there[rows], source)).backward()
            step()
        with torch.no_grad():
            same = torch.Generator().manual_seed(seed)  # every epoch is measured with the same random numbers
            blocks = zip(seen[first_held:].split(_BLOCK), there[first_held:].split(_BLOCK), strict=True)
            held = float(_trimmed(torch.cat([loss(network, *block, same) for block in blocks])))
        waited += 1
        if held < best:
            best, waited, weights = held, 0, copy.deepcopy(network.state_dict())
        if waited >= _PATIENCE:
            break
    network.load_state_dict(weights)
    return first_held


def _adam(weights: "list[Tensor]") -> Callable[[], None]:
    """Return what makes a step against the gradients, and clears them.

    torch's own Adam, called by its function: the class loads torch's compiler first, which takes 5 s and 80 MB.
    """
    import torch
    from torch.optim.adam import adam

    counts = [torch.tensor(0.0) for _ in weights]
    first, second = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    constants: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "lr": _RATE, "weight_decay": 0.0}
    constants |= {"foreach": False, "amsgrad": False, "maximize": False}

    def step() -> None:
        gradients = [each.grad for each in weights if each.grad is not None]  # all of them: a network uses its weights
        with torch.no_grad():
            adam(weights, gradients, first, second, [], counts, **constants)
        for each in weights:
            each.grad = None

    return step


def _trimmed(losses: Any) -> Any:
    """Return the mean of the losses (N,) without the largest."""
    return losses.sort().values[: max(round(len(losses) * (1 - TRIMMED)), 1)].mean()

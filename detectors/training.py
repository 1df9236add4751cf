"""Training of the small networks: windows drawn from a history, and a loop that stops early and leaves outages out."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from detectors.baseline import median_and_scale
from detectors.types import Batch, Flags, Floats

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

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
_CHUNK: Final = 4_000_000
"""Values cut out of the history at a time: bounds the memory of wide windows of many channels."""

Loss = Callable[["nn.Module", "Tensor", "Tensor", "Generator"], "Tensor"]
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
        """Scale samples (N, C, T) by level and spread (N, C)."""
        recent = values[:, :, -length:]
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = (recent - center[..., None]) / scale[..., None]
        there = np.isfinite(deviation)
        seen = np.zeros((*values.shape[:2], length), np.float32)
        known = np.zeros(seen.shape, np.bool_)
        size = recent.shape[2]
        seen[:, :, length - size :] = np.rint(np.where(there, np.clip(deviation, -CLIP, CLIP), 0.0) * _GRAIN) / _GRAIN
        known[:, :, length - size :] = there
        return cls(seen, known, np.where(there[:, :, -1], deviation[:, :, -1], np.nan))

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, which: slice | Flags) -> "Windows":
        return Windows(self.seen[which], self.there[which], self.newest[which])


def draw(history: Batch, window: int, length: int, least: int, most: int, seed: int) -> Windows:
    """Return windows at random places of `history`, `most` at most, in the order of time.

    Each is scaled by the level of its own `window` samples but the newest, as when it will be judged. A channel with
    fewer than `least` of them is not there; a window in which no channel has a newest sample is left out.
    """
    values = history.values
    entities, channels, samples = values.shape
    if samples < 2 * window:  # a first fill: what an entity is judged by before its window is full counts too
        values = np.concatenate([np.full((entities, channels, max(window - least - 1, 0)), np.nan), values], axis=2)
    starts = max(values.shape[2] - window + 1, 0)
    places = np.random.default_rng(seed).choice(entities * starts, min(most, entities * starts), replace=False)
    if not len(places):
        empty = np.empty((0, channels, window))
        return Windows.of(empty, empty[..., 0], empty[..., 0], length)
    drawn = np.sort(places)
    start, entity = drawn // entities, drawn % entities  # ascending in time
    cut = np.lib.stride_tricks.sliding_window_view(values, window, axis=2)
    parts = []
    rows = max(_CHUNK // (channels * window), 1)
    for first in range(0, len(drawn), rows):
        some = slice(first, first + rows)
        each = cut[entity[some], :, start[some]]
        with np.errstate(over="ignore", invalid="ignore"):
            center, scale, count = median_and_scale(each[:, :, :-1])
        part = Windows.of(each, np.where(count >= least, center, np.nan), scale, length)
        parts.append(part[np.isfinite(part.newest).any(axis=1)])
    return Windows(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("seen", "there", "newest")))


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


def train(network: "nn.Module", loss: Loss, windows: Windows, epochs: int, seed: int) -> int:
    """Train `network` on all windows but those held back; return how many windows come before these.

    Adam (Kingma & Ba 2015, arXiv:1412.6980) on a trimmed loss (Rousseeuw 1984, Least Median of Squares Regression,
    doi:10.1080/01621459.1984.10477105), until the windows held back have not fitted better for three epochs. The same
    seed leads to the same weights; torch's own random numbers are neither used nor changed.
    """
    torch = on_one_core()
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                torch.nn.init.xavier_uniform_(weights, generator=source)
            else:
                weights.zero_()
    seen, there = torch.from_numpy(windows.seen), torch.from_numpy(windows.there.astype(np.float32))
    first_held = int(len(seen) * (1 - HELD_BACK))
    optimiser = torch.optim.Adam(network.parameters(), lr=_RATE)
    best, waited, weights = np.inf, 0, copy.deepcopy(network.state_dict())
    console = Console(stderr=True)
    for _ in track(range(epochs), "training", console=console, transient=True, disable=not console.is_terminal):
        for rows in torch.randperm(first_held, generator=source).split(_BATCH):
            optimiser.zero_grad()
            _trimmed(loss(network, seen[rows], there[rows], source)).backward()
            optimiser.step()
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


def _trimmed(losses: "Tensor") -> "Tensor":
    kept = losses.sort().values[: max(round(len(losses) * (1 - TRIMMED)), 1)]
    return kept.mean()

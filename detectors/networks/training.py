"""Training of the small networks: early stopping, and a loss that ignores the windows that fit worst."""

import copy
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track

from detectors.networks.windows import Windows

if TYPE_CHECKING:
    from torch import Generator, Tensor

HOLDOUT: Final = 0.2
"""Share of the windows, the newest ones, that decide when to stop and give the usual error."""
TRIMMED: Final = 0.1
"""Share of the windows, those that fit worst, that are ignored: the history may hold unlabelled outages."""
_STEPS: Final = 50
"""Steps per pass over few windows. Over many windows there are more steps, of `_BATCH` windows each."""
_BATCH: Final = 128
_LEAST_BATCH: Final = 16
_PATIENCE: Final = 3
_RATE: Final = 3e-3
_BLOCK: Final = 512
Loss = Callable[[Any, "Tensor", "Tensor", "Generator"], "Tensor"]
"""Network, windows (N, C, L), 1 where there is a sample (N, C, L), random generator -> loss of each window (N,)."""


def require_torch() -> None:
    """Raise ValueError if torch is not installed. The import takes seconds, so it is left to the first fit."""
    if find_spec("torch") is None:
        raise ValueError("this detector needs the Python package torch: pip install 'anomaly-exporter[torch]'")


def on_one_core() -> Any:
    """Return torch, limited to one core: jobs run in threads of their own, and torch would add its threads to each."""
    import torch

    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return torch


def train(network: Any, loss: Loss, windows: Windows, epochs: int, seed: int) -> int:
    """Train `network` on all windows except the holdout; return the index of the first holdout window.

    Adam (Kingma & Ba 2015, arXiv:1412.6980) on a trimmed loss (Rousseeuw 1984, Least Median of Squares Regression,
    doi:10.1080/01621459.1984.10477105), until the loss on the holdout has not improved for three epochs. The same
    seed gives the same weights. The global random generator of torch is not used.
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
    first_holdout = int(len(seen) * (1 - HOLDOUT))
    size = min(max(first_holdout // _STEPS, _LEAST_BATCH), _BATCH)
    step = _adam(list(network.parameters()))
    best, waited, weights = np.inf, 0, copy.deepcopy(network.state_dict())
    console = Console(stderr=True)
    for _ in track(range(epochs), "training", console=console, transient=True, disable=not console.is_terminal):
        for rows in torch.randperm(first_holdout, generator=source).split(size):
            _trimmed(loss(network, seen[rows], there[rows], source)).backward()
            step()
        with torch.no_grad():
            same = torch.Generator().manual_seed(seed)  # every epoch is evaluated with the same random numbers
            blocks = zip(seen[first_holdout:].split(_BLOCK), there[first_holdout:].split(_BLOCK), strict=True)
            loss_now = float(_trimmed(torch.cat([loss(network, *block, same) for block in blocks])))
        waited += 1
        if loss_now < best:
            best, waited, weights = loss_now, 0, copy.deepcopy(network.state_dict())
        if waited >= _PATIENCE:
            break
    network.load_state_dict(weights)
    return first_holdout


def _adam(weights: "list[Tensor]") -> Callable[[], None]:
    """Return a function that makes one step against the gradients and clears them.

    It calls torch's function for Adam, because the class loads torch's compiler first, which takes 5 s and 80 MB.
    """
    import torch
    from torch.optim.adam import adam

    counts = [torch.tensor(0.0) for _ in weights]
    first, second = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    constants: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "lr": _RATE, "weight_decay": 0.0}
    constants |= {"foreach": False, "amsgrad": False, "maximize": False}

    def step() -> None:
        gradients = [each.grad for each in weights if each.grad is not None]  # a network uses all its weights
        with torch.no_grad():
            adam(weights, gradients, first, second, [], counts, **constants)
        for each in weights:
            each.grad = None

    return step


def _trimmed(losses: Any) -> Any:
    """Return the mean of the losses (N,) without the largest."""
    return losses.sort().values[: max(round(len(losses) * (1 - TRIMMED)), 1)].mean()

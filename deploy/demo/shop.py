"""A small shop with a checkout that can be made slow: two days of history, continued by a live target."""

import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from deploy.demo.history import openmetrics
from deploy.demo.local import LocalServer
from detectors import Floats
from detectors.units import DAY

METRIC: Final = "shop_latency_seconds"
PAGES: Final = {"cart": 0.09, "checkout": 0.12, "search": 0.05}
"""Usual latency by page, in seconds."""
BROKEN: Final = "checkout"
FACTOR: Final = 4.0
"""How much slower the fault makes the broken page."""
RAMP: Final = 15.0
"""Seconds until the fault has its full size, so that the rise of the score is visible."""
NOISE: Final = 0.02


def labels(page: str) -> dict[str, str]:
    """Return the labels of a page's series; the target sets job and instance itself, so that they match the history."""
    return {"instance": "shop", "job": "shop", "page": page}


def usual(page: str, times: Floats, rng: np.random.Generator) -> Floats:
    """Return latencies in seconds, shape (T,), at `times` (Unix seconds): a daily pattern and some noise."""
    rhythm = 1 + 0.15 * np.sin(2 * np.pi * times / DAY)
    latencies: Floats = PAGES[page] * rhythm * (1 + NOISE * rng.standard_normal(len(times)))
    return latencies


def slowdown(since_fault: Floats | float) -> Floats:
    """Return the factor on the broken page's latency, by seconds since the fault began (negative: not yet)."""
    return 1 + (FACTOR - 1) * np.clip(np.asarray(since_fault, np.float64) / RAMP, 0.0, 1.0)


def history(now: float, step: float, detailed: float) -> Iterator[str]:
    """Yield two days of OpenMetrics lines up to `now`: each minute, and each `step` seconds in the last `detailed`."""
    begin = now - detailed - step
    times = np.concatenate([np.arange(now - 2 * DAY, begin, 60.0), np.arange(begin, now, step)])
    for number, page in enumerate(PAGES):
        rng = np.random.default_rng(number)
        yield from openmetrics(METRIC, labels(page), times.tolist(), usual(page, times, rng).tolist())


class Shop(LocalServer):
    """The live target."""

    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.default_rng()
        self._broken_since: float | None = None

    def break_checkout(self) -> None:
        """Make the checkout slow from now on."""
        self._broken_since = time.time()

    def mend(self) -> None:
        """Make the checkout as fast as before."""
        self._broken_since = None

    def get(self) -> str:
        """Return the metrics."""
        now = time.time()
        since = self._broken_since
        lines = [f"# HELP {METRIC} Time to serve a page of the demo's shop", f"# TYPE {METRIC} gauge"]
        for page in PAGES:
            value = float(usual(page, np.array([now]), self._rng)[0])
            if page == BROKEN and since is not None:
                value *= float(slowdown(now - since))
            text = ",".join(f'{label}="{content}"' for label, content in labels(page).items())
            lines.append(f"{METRIC}{{{text}}} {value!r}")
        return "\n".join(lines) + "\n"

"""A scrape target whose series a test sets as it goes."""

import math
import random
import time

from deploy.demo.local import LocalServer


class Target(LocalServer):
    """Serves gauges: `target.series[name] = value`, None takes the series away.

    A series called `level` has the labels `{name="…"}`; noise of one percent keeps detectors honest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.series: dict[str, float | None] = {}
        self._random = random.Random(1)

    def get(self) -> str:
        lines = ["# TYPE level gauge"]
        for name, value in dict(self.series).items():
            if value is not None:
                lines.append(f'level{{name="{name}"}} {value * (1 + 0.01 * self._random.gauss(0, 1))!r}')
        lines += ["# TYPE work_total counter", f"work_total {math.floor(time.time() * 10)}"]
        return "\n".join(lines) + "\n"

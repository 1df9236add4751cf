"""A source whose series come and go: it computes every answer from the time it is asked for."""

import json
import math
from typing import Final

from tests.support.stub import Reply, Request

EMPTY: Final = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'


class Churning:
    """Answers range queries; of `series`, half stay and the rest is replaced, `churn` of all with every step.

    Parameters
    ----------
    series : int
        Live at once.
    churn : float
        Share of them that is replaced with every step.
    step : float
        Seconds.
    """

    def __init__(self, series: int, churn: float, step: float) -> None:
        self.series, self.step = series, step
        self.staying = series // 2
        self.coming = round(series * churn)

    def live(self, tick: int) -> set[int]:
        """Return the numbers of the series that are there."""
        first = self.staying + tick * self.coming
        return {*range(self.staying), *range(first, first + self.series - self.staying)}

    def value(self, number: int, tick: int) -> float:
        """Return a sample: noise, and for every tenth series a fault of ten steps now and then."""
        noise = math.sin(number * 12.9898 + tick * 78.233) * 43758.5453 % 1.0
        faulty = number % 10 == 0 and (tick + 7 * number) % 300 < 10
        return 10.0 + noise + (40.0 if faulty else 0.0)

    def reply(self, request: Request) -> Reply:
        """Answer one request."""
        form = request.form
        if form.get("query") != "level" or "start" not in form:
            return Reply(EMPTY, headers={"Content-Type": "application/json"})
        first, last = (round(float(form[name]) / self.step) for name in ("start", "end"))
        samples: dict[int, list[list[object]]] = {}
        for tick in range(first, last + 1):
            for number in self.live(tick):
                samples.setdefault(number, []).append([tick * self.step, f"{self.value(number, tick):.4f}"])
        result = [
            {"metric": {"__name__": "level", "instance": str(number)}, "values": values}
            for number, values in samples.items()
        ]
        body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        return Reply(json.dumps(body, separators=(",", ":")).encode(), headers={"Content-Type": "application/json"})

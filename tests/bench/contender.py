"""One way to judge series, in a process of its own, so that its CPU and memory are nobody else's.

The benchmark writes a JSON request a line and reads a JSON answer a line: see `CONTENDERS` and `peer.Contender`.
"""

import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests

from exporter.config.sections.job import JobConfig
from exporter.config.sections.service import LogConfig
from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.observe import logs
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Span, Stage, Telemetry
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.shard import Shard
from exporter.pipeline.verdict import Verdict
from exporter.service.runner import Runner
from exporter.sinks.flag_log import FlagLog
from exporter.sinks.job_gauges import JobGauges
from exporter.sinks.metrics_page import Page
from exporter.sinks.registry import Sinks
from exporter.source.prometheus import Prometheus
from tests.bench.history import STEP, pod
from tests.bench.usage import memory
from tests.support.fake import DIGESTS, recorded

PUBLISHED = frozenset({"lower", "upper"})


class _Page(Page):
    """Keeps the verdict that was published, and when the page first had it."""

    verdict: Verdict | None = None
    shown: float | None = None

    def publish(self, verdict: Verdict, fields: Any) -> None:
        self.verdict = verdict
        super().publish(verdict, fields)

    def render(self) -> None:
        super().render()
        if self.verdict is not None and self.shown is None:
            self.shown = time.perf_counter()


class _Telemetry(Telemetry):
    """Adds up the CPU of the stages of a cycle."""

    cpu: dict[str, float]

    @contextmanager
    def stage(self, job: str, name: Stage) -> Iterator[Span]:
        began = time.process_time()
        with super().stage(job, name) as span:
            yield span
        self.cpu[name] = time.process_time() - began


class Exporter:
    """The exporter's own cycle, page included; time is what the request says.

    The first cycle judges its newest sample only: without the incidents of its history every score can be checked.
    With `history`, seconds, it judges that much of the past first, as a detector that learns needs it.
    """

    def __init__(
        self, url: str, expr: str, detector: str, pods: list[str], window: float = 60 * STEP, history: float = 0.0,
        shard: str = "0/1", shard_by: str = "auto",
    ) -> None:  # fmt: skip
        logs.configure(LogConfig())
        config = JobConfig(
            expr=expr, detector=detector, publish=PUBLISHED, window=window, history=history or None, shard_by=shard_by
        )
        self._newest_alone = not history
        source = Prometheus(
            PrometheusConfig(url=url, deadline=300, max_response=2**31, max_points=300),
            LimitsConfig(series=1_000_000, samples=100_000_000),
        )
        metrics = SelfMetrics()
        self.page = _Page(metrics)
        settings = JobSettings("bench", config, DIGESTS, Shard.parse(shard))
        self.job = Job(settings, source, recorded(metrics, config, "bench"))
        self.telemetry = _Telemetry(metrics)
        shown = {"flag_log": FlagLog(metrics), "job_gauges": JobGauges(metrics), "metrics_page": self.page}
        self.runner = Runner(self.job, self.telemetry, Sinks(metrics, shown))
        self._pods = pods
        self._keys: object = None
        self._rows: list[int] = []

    def __call__(self, now: float, detail: bool = False, reset_peak: bool = False) -> dict[str, Any]:
        """Judge at `now`; `detail` adds what was found, `reset_peak` forgets the highest memory so far."""
        if reset_peak:
            Path("/proc/self/clear_refs").write_text("5")
        if self._newest_alone and self.job.judged == -np.inf:
            self.job.learnt.judged = now - STEP
        self.page.verdict, self.page.shown, self.telemetry.cpu = None, None, {}
        wall, cpu = time.perf_counter(), time.process_time()
        self.runner.cycle(now)
        began, wall = wall, time.perf_counter() - wall
        for _ in self.page.current.pieces():  # the page is written as it is read: for the first scrape after a cycle
            pass
        verdict, shown = self.page.verdict, self.page.shown
        if verdict is None or shown is None or verdict.time != now:
            raise SystemExit(f"no verdict at {now}: see the log above")
        answer: dict[str, Any] = {
            "shown": shown - began,
            "wall": wall,
            "cpu": time.process_time() - cpu,
            **memory("self"),
        }
        answer |= {
            "entities": len(verdict.keys),
            "page_bytes": self.page.current.size,
            "stages": self.telemetry.cpu,
        }
        return answer | (self._detail(verdict) if detail else {})

    def _detail(self, verdict: Verdict) -> dict[str, Any]:
        if verdict.keys is not self._keys:
            row = {dict(key)["pod"]: at for at, key in enumerate(verdict.keys)}
            self._keys, self._rows = verdict.keys, [row[name] for name in self._pods]
        found = (verdict.score, verdict.values, verdict.lower, verdict.upper)
        return {
            "score": verdict.score[self._rows].tolist(),
            "value": verdict.values[self._rows, 0].tolist(),
            "digest": hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in found)).hexdigest(),
            "flagged": int(verdict.flag.sum()),
        }


class Rereading(Exporter):
    """The same cycle, but it reads the whole window every time."""

    def __call__(self, now: float, detail: bool = False, reset_peak: bool = False) -> dict[str, Any]:
        self.job.window.until = -np.inf
        return super().__call__(now, detail, reset_peak)


class Script:
    """What one writes first: range query, pandas, an isolation forest for each series."""

    def __init__(self, url: str, metric: str) -> None:
        self._url, self._metric = url, metric

    def __call__(self, now: float, first: int, count: int) -> dict[str, Any]:
        """Judge `count` series from number `first` on."""
        import pandas as pd
        from sklearn.ensemble import IsolationForest

        wall, cpu = time.perf_counter(), time.process_time()
        names = "|".join(pod(number) for number in range(first, first + count))
        form = {"query": f'{self._metric}{{pod=~"{names}"}}', "start": now - 59 * STEP, "end": now, "step": STEP}
        answer = requests.post(f"{self._url}/api/v1/query_range", data=form, timeout=60).json()
        series = {
            result["metric"]["pod"]: pd.Series({at: float(value) for at, value in result["values"]})
            for result in answer["data"]["result"]
        }
        scores = {}
        for name, column in pd.DataFrame(series).items():
            window = column.to_numpy()[:, None]
            scores[name] = -IsolationForest(random_state=0).fit(window).score_samples(window[-1:])[0]
        answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        return answer | {"score": [float(scores[pod(number)]) for number in range(first, first + count)]}


CONTENDERS: dict[str, Callable[..., Callable[..., dict[str, Any]]]] = {
    "exporter": Exporter,
    "rereading": Rereading,
    "script": Script,
}


def main() -> None:
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing but answers goes to the benchmark
    contender = CONTENDERS[sys.argv[1]](**json.loads(sys.argv[2]))
    for request in sys.stdin:
        answers.write(json.dumps(contender(**json.loads(request))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

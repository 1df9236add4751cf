"""An ordinary day of a cluster and of web services, a minute apart: nothing in it is an incident.

Load follows the day by a third and varies by a tenth. Pods are rolled out, scaled, run as jobs and begin at zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from detectors.types import Floats
from tests.support.shapes import BUSY, QUIET, kubelet_page, rows, state_page

MINUTES: Final = 1500
Series = dict[str, dict[int, float]]
"""Values by minute, by the text of the series."""

RATES: Final = {
    "container_cpu_usage_seconds_total": 0.4,
    "container_cpu_cfs_throttled_periods_total": 0.2,
    "container_cpu_cfs_periods_total": 10.0,
}
"""What counters of a container grow by, per second."""
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CODES: Final = {"200": 0.985, "404": 0.01, "401": 0.004, "500": 0.001}


def load(minutes: Floats) -> Floats:
    """Return how busy it is, 1 on average."""
    shape: Floats = 1 + np.sin(2 * np.pi * minutes / 1440) / 3
    return shape


def openmetrics(series: Series, start: int) -> Iterator[str]:
    """Yield the lines of a day that begins at `start` (Unix seconds)."""
    for name, values in series.items():
        metric = name.partition("{")[0]
        kind = "counter" if metric.endswith("_total") else "unknown"
        yield f"# TYPE {metric.removesuffix('_total')} {kind}"
        yield from (f"{name} {value} {start + 60 * minute}" for minute, value in values.items())


@dataclass(frozen=True)
class Pod:
    """A pod as it stands in the table of a shape, and the minutes in which it lives."""

    namespace: str
    name: str
    owner: str
    network: str
    containers: tuple[str, ...]
    born: int
    gone: int

    @property
    def row(self) -> str:
        return " ".join((self.namespace, self.name, self.owner, self.network, *self.containers))


def pods(shape: dict[str, Any], random: np.random.Generator) -> list[Pod]:
    """Return the pods of a day: those of a shape, an application that is rolled out and scaled, and jobs."""
    found = []
    for namespace, name, owner, network, *containers in rows(shape["pods"]):
        if owner != "Job":
            found.append(Pod(namespace, name, owner, network, tuple(containers), -10_000, MINUTES))
    for app in ("web", "worker"):
        rollouts = [-5_000, *np.sort(random.integers(100, MINUTES - 100, 2)).tolist(), MINUTES]
        for release, (first, last) in enumerate(pairwise(rollouts)):
            for replica in range(6):  # one after the other, the old one goes when the new one is ready
                born, gone = first + 2 * replica, last + 2 * replica + 1
                if replica >= 4:  # the autoscaler wants them while it is busy
                    born, gone = max(born, 60), min(gone, 660)
                if born < gone:
                    name = f"{app}-r{release}x{replica}"
                    found.append(Pod("shop", name, "ReplicaSet", "own", (app,), born, min(gone, MINUTES)))
    for number, minute in enumerate(range(7, MINUTES, 60)):  # every hour, for five minutes
        found.append(Pod("shop", f"report-{number}", "Job", "own", ("report",), minute, minute + 5))
    return found


class Cluster:
    """A day of cAdvisor, the kubelet and kube-state-metrics on one node, from a shape of tests/rules/shapes."""

    def __init__(self, shape: dict[str, Any], seed: int) -> None:
        self._shape, self._random = shape, np.random.default_rng(seed)
        self._pods = pods(shape, self._random)
        self._level: dict[str, float] = {}
        self._counts: dict[str, float] = {}
        self._restarting = next(pod for pod in self._pods if pod.name == "worker-r1x2")

    def day(self) -> Series:
        """Return the series of both pages."""
        found: Series = {}
        for minute in range(MINUTES):
            alive = [pod for pod in self._pods if pod.born <= minute < pod.gone]
            shape = {**self._shape, "pods": "\n".join(pod.row for pod in alive)}
            by_name = {(pod.namespace, pod.name): pod for pod in alive}
            now: dict[str, float] = {}
            for job, page in (("kubelet", kubelet_page), ("kube-state-metrics", state_page)):
                for line in page(shape, 1.0):
                    series, _, value = line.rpartition(" ")
                    series = series.replace("{", f'{{job="{job}",instance="n1",', 1)
                    if series not in now:
                        now[series] = self._value(series, float(value), minute, by_name)
            for series, value in now.items():
                found.setdefault(series, {})[minute] = value
        return found

    def _value(self, series: str, told: float, minute: int, alive: dict[tuple[str, str], Pod]) -> float:
        """Return what a series of the page has in this minute."""
        metric, _, rest = series.partition("{")
        labels = dict(part.split("=", 1) for part in rest.rstrip("}").replace('"', "").split(",") if part)
        pod = alive.get((labels.get("namespace", ""), labels.get("pod", "")))
        if metric.startswith("container_network"):
            shared = labels.get("id") == "/" or (pod is not None and pod.network == "host")
            name = f"{metric} {labels['interface']}" if shared else series
            return self._grown(name, BUSY if shared else QUIET, minute)
        if metric in RATES:
            return self._grown(series, RATES[metric], minute)
        if metric.startswith("kube_deployment"):
            mine = [each for (_, name), each in alive.items() if name.rpartition("-")[0] == labels["deployment"]]
            return float(sum(metric.endswith("_spec_replicas") or minute - each.born < 1 for each in mine))
        return self._gauge(metric, told, minute, pod)

    def _gauge(self, metric: str, told: float, minute: int, pod: Pod | None) -> float:
        age = minute - pod.born if pod else MINUTES
        if metric == "container_memory_working_set_bytes":
            full = 5e8 * (1 - 0.5 * np.exp(-age / 10.0))
            told = float(full * (0.9 + 0.1 * load(np.array(minute))) * self._random.normal(1, 0.02))
        elif metric == "kubelet_volume_stats_available_bytes":
            told = 2e9 - 4e5 * (minute % 720) + float(self._random.normal(0, 1e6))
        elif metric == "kube_pod_status_phase":
            told = float(age < 1)
        elif metric == "kube_pod_container_status_restarts_total":
            told = float(pod is not None and pod.name == self._restarting.name and minute >= self._restarting.born + 30)
        return told

    def _grown(self, series: str, rate: float, minute: int) -> float:
        """Return a counter; it has grown since the last minute, once a minute."""
        if self._counts.get(f"at {series}") != minute:
            level = self._level.setdefault(series, self._random.uniform(0.7, 1.3))
            grown = 60 * rate * level * load(np.array(minute)) * self._random.normal(1, 0.1)
            self._counts[series] = self._counts.get(series, 1e9 * (minute == 0)) + max(float(grown), 0.0)
            self._counts[f"at {series}"] = minute
        return self._counts[series]


def services(seed: int) -> Series:
    """Return a day of three instances each of a busy and of a quiet web service; both are rolled out twice."""
    random, found = np.random.default_rng(seed), {}
    minutes = np.arange(MINUTES, dtype=np.float64)
    for job, per_second in (("shop", 20.0), ("admin", 0.5)):
        for number, (first, last) in enumerate(((0, 500), (500, 1000), (1000, MINUTES))):
            for instance in range(3):
                alive = minutes[(first + instance if first else 0) : min(last + instance + 1, MINUTES)]
                asked = random.poisson(20 * per_second * load(alive) * random.normal(1, 0.1, len(alive)).clip(0.1))
                target = f'job="{job}",instance="{job}-{number}-{instance}"'
                by_code = random.multinomial(asked, list(CODES.values())).cumsum(axis=0)
                for code, counts in zip(CODES, by_code.T, strict=True):
                    _put(found, f'http_requests_total{{{target},code="{code}"}}', alive, counts)
                took = [random.lognormal(np.log(0.05), 0.7, count) for count in asked]
                within = np.array([[(some <= edge).sum() for edge in BUCKETS] for some in took]).cumsum(axis=0)
                for edge, counts in zip(BUCKETS, within.T, strict=True):
                    _put(found, f'http_request_duration_seconds_bucket{{{target},le="{edge}"}}', alive, counts)
                _put(found, f'http_request_duration_seconds_bucket{{{target},le="+Inf"}}', alive, asked.cumsum())
    return found


def _put(found: Series, name: str, minutes: Floats, counts: Any) -> None:
    found[name] = dict(zip(minutes.astype(int).tolist(), counts.tolist(), strict=True))

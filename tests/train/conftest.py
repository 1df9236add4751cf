"""Two weeks of samples in a real Prometheus, and the train command as a user runs it."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import yaml
from typer.testing import CliRunner

from deploy.demo.servers import PrometheusServer, backfill
from detectors.units import DAY
from exporter.cli.main import cli
from exporter.config.sections.models import ModelsConfig
from exporter.models import Store

STEP, DAYS = 1200, 14
POINTS = int(DAYS * DAY // STEP)
TOLD = 6.4
"""Day of the outage that an alert told of."""
OUTAGES = ((3.4, "a"), (6.4, "b"), (12.1, "a"), (12.6, "b"), (13.4, "c"))
"""Days after the beginning at which an instance fails for two hours."""
LASTS = 7200
GARBAGE = (4.0, 12.5)
"""Days between which `broken` is anything at all."""


def _rhythm(rng: np.random.Generator) -> np.ndarray:
    at = np.arange(POINTS) * STEP / DAY
    return 100 * (1 + 0.3 * np.sin(2 * np.pi * at) + 0.03 * rng.standard_normal(POINTS))


def _history(begin: float) -> Iterator[str]:
    rng = np.random.default_rng(7)
    times = begin + STEP * np.arange(POINTS)
    day = np.arange(POINTS) * STEP / DAY
    for metric in ("load", "broken"):
        yield f"# TYPE {metric} gauge"
        for instance in "abc":
            values = _rhythm(rng)
            if metric == "load":
                for at, failing in OUTAGES:
                    if failing == instance:
                        values[(day >= at) & (day < at + LASTS / DAY)] = 5.0
            else:
                bad = (day >= GARBAGE[0]) & (day < GARBAGE[1])
                values[bad] = 10 ** rng.uniform(0, 6, bad.sum())
            for moment, value in zip(times, values, strict=True):
                yield f'{metric}{{instance="{instance}"}} {value:.3f} {moment:.0f}'
    yield "# TYPE ALERTS gauge"
    for at in begin + TOLD * DAY + np.arange(0, LASTS, STEP):
        yield f'ALERTS{{alertname="Down",alertstate="firing",instance="b"}} 1 {at // STEP * STEP:.0f}'


@dataclass(frozen=True)
class Past:
    """A Prometheus that holds the history; `begin` and `end` are Unix seconds."""

    url: str
    begin: float
    end: float

    def at(self, day: float) -> float:
        return self.begin + day * DAY

    def incidents(self) -> list[dict[str, Any]]:
        """Return the outages of `load` as an incidents file has them."""
        return [
            {"start": self.at(day), "end": self.at(day) + LASTS, "labels": {"instance": name}} for day, name in OUTAGES
        ]


@pytest.fixture(scope="session")
def past(servers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """One Prometheus for all tests of a worker, only to ask."""
    directory = tmp_path_factory.mktemp("training-prometheus")
    end = (time.time() + DAY) // STEP * STEP  # tomorrow: a silence cannot be made for what is over
    begin = end - (POINTS - 1) * STEP
    backfill(directory, _history(begin), longest_block="400h")
    with PrometheusServer(directory) as server:
        yield Past(server.url, begin, end)


@dataclass
class Ran:
    """How the command ended."""

    code: int
    lines: list[dict[str, Any]]
    errors: str

    @property
    def only(self) -> dict[str, Any]:
        (line,) = self.lines
        return line


@dataclass
class Trainer:
    """The train command on a configuration and a store of its own."""

    folder: Path
    config: dict[str, Any]
    runner: CliRunner = field(default_factory=CliRunner)

    @property
    def file(self) -> Path:
        return self.folder / "anomaly.yml"

    @property
    def store(self) -> Store:
        return Store(ModelsConfig(path=self.folder / "models"))

    def incidents(self, known: list[dict[str, Any]]) -> None:
        path = self.folder / "incidents.yml"
        path.write_text(yaml.safe_dump(known))
        self.config.setdefault("train", {})["incidents"] = str(path)

    def __call__(self, *arguments: object) -> Ran:
        self.file.write_text(yaml.safe_dump(self.config))
        try:
            result = self.runner.invoke(cli, ["train", f"--config={self.file}", *map(str, arguments)])
        finally:
            structlog.reset_defaults()  # the command has set up logs for itself
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ran(result.exit_code, [json.loads(line) for line in result.stdout.splitlines()], result.stderr)


@pytest.fixture
def trainer(past: Past, tmp_path: Path) -> Callable[..., Trainer]:
    """Make a trainer: `trainer(metric, detector)`; its time ends where the samples do."""

    def make(metric: str = "load", detector: Any = "seasonal", **train: Any) -> Trainer:
        job = {"expr": metric, "entity": ["instance"], "step": "20m", "window": "10h", "detector": detector}
        config = {
            "prometheus": {"url": past.url, "retries": 0},
            "models": {"path": str(tmp_path / "models")},
            "jobs": {metric: {**job, "rate": False}},
            "train": {"backend": "sequential", **train},
        }
        return Trainer(tmp_path, config)

    return make

"""The whole exporter as a process beside real servers."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.servers import ExporterServer
from tests.support.target import Target
from tests.support.waiting import PATIENCE, eventually


class Page:
    """What the exporter's page says now."""

    def __init__(self, url: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            self.text = session.get(f"{url}/metrics", timeout=PATIENCE).text
        self._samples: dict[str, list[Any]] = {}
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append(sample)

    def get(self, name: str, /, **labels: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return values by labels, of the samples that have all of `labels`."""
        return {
            tuple(sorted(s.labels.items())): s.value
            for s in self._samples.get(name, [])
            if labels.items() <= s.labels.items()
        }

    def cycles(self, job: str) -> float:
        """Return how many cycles of a job have succeeded: the time that has passed as the exporter sees it."""
        return self.one("anomaly_exporter_cycles_total", query=job, outcome="success") or 0.0

    def one(self, name: str, /, **labels: str) -> float | None:
        """Return the only value, None where there is none."""
        found = self.get(name, **labels)
        assert len(found) <= 1, found
        return next(iter(found.values()), None)


def soon(url: str, job: str, condition: Callable[[], Any], most: int = 15) -> None:
    """Wait for `condition`, which has to come true within `most` cycles of a job."""
    begun = Page(url).cycles(job)
    eventually(condition)
    assert Page(url).cycles(job) - begun <= most


def during(url: str, job: str, cycles: int) -> Iterator[Page]:
    """Yield the page again and again, until so many more cycles of a job have succeeded."""
    page = Page(url)
    end = page.cycles(job) + cycles
    while page.cycles(job) < end:
        time.sleep(0.5)
        page = Page(url)
        yield page


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Callable[..., ExporterServer]]:
    """Start exporters: `exporter(config)`; with `ready=False` without waiting for the first verdict."""
    with ExitStack() as stack:
        started = 0

        def start(
            config: dict[str, Any], *, ready: bool = True, port: int | None = None, flags: Sequence[str] = ()
        ) -> ExporterServer:
            nonlocal started
            started += 1
            server = ExporterServer(tmp_path / f"exporter-{started}", config, port=port)
            server.flags = tuple(flags)
            if not ready:
                server.ready_path = "/-/healthy"
            return stack.enter_context(server)

        yield start


@pytest.fixture
def target() -> Iterator[Target]:
    """A running scrape target."""
    with Target() as server:
        yield server

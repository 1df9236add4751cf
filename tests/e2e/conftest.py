"""The whole exporter as a process beside real servers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.servers import ExporterServer
from tests.support.target import Target


class Page:
    """What the exporter's page says now."""

    def __init__(self, url: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            self.text = session.get(f"{url}/metrics", timeout=5).text
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

    def one(self, name: str, /, **labels: str) -> float | None:
        """Return the only value, None where there is none."""
        found = self.get(name, **labels)
        assert len(found) <= 1, found
        return next(iter(found.values()), None)


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

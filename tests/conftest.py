"""Real servers for the tests: missing ones fail the run, they never skip it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from deploy.demo import process
from deploy.demo.servers import (
    ITSELF,
    AlertmanagerServer,
    NodeExporterServer,
    PrometheusServer,
    backfill,
    missing_servers,
)
from tests.support.waiting import PATIENCE

# A busy machine makes no example wrong, however long it takes.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

StartPrometheus = Callable[..., PrometheusServer]
StartAlertmanager = Callable[..., AlertmanagerServer]


@pytest.fixture(scope="session", autouse=True)
def surroundings() -> Iterator[None]:
    """What is started from anywhere runs the code of this checkout, whichever is installed.

    On a busy machine servers may take longer to start, answer and stop than the demo would wait for them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        for name in ("READY_WITHIN", "ANSWER_WITHIN", "STOP_WITHIN"):
            patch.setattr(process, name, PATIENCE)
        yield


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A test that configures the logs leaves the logs of libraries as they were for the next one."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler).__module__ == "exporter.observe.logs":
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def servers() -> None:
    """The Debian packages are there."""
    if missing := missing_servers():
        pytest.fail(f"these tests need real servers: apt-get install {' '.join(missing)}", pytrace=False)


@pytest.fixture
def prometheus(servers: None, tmp_path: Path) -> Iterator[StartPrometheus]:
    """Start fresh Prometheus servers: `prometheus(scrape=…, history=lines, **PrometheusServer options)`."""
    with ExitStack() as stack:
        started = 0

        def start(*args: Any, history: Iterable[str] = (), **options: Any) -> PrometheusServer:
            nonlocal started
            started += 1
            directory = tmp_path / f"prometheus-{started}"
            if lines := list(history):
                backfill(directory, lines)
            return stack.enter_context(PrometheusServer(directory, *args, **options))

        yield start


@pytest.fixture
def alertmanager(servers: None, tmp_path: Path) -> Iterator[StartAlertmanager]:
    """Start fresh Alertmanagers: `alertmanager(config)`."""
    with ExitStack() as stack:
        started = 0

        def start(*args: Any, **options: Any) -> AlertmanagerServer:
            nonlocal started
            started += 1
            return stack.enter_context(AlertmanagerServer(tmp_path / f"alertmanager-{started}", *args, **options))

        yield start


@pytest.fixture
def node_exporter(servers: None, tmp_path: Path) -> Iterator[NodeExporterServer]:
    """A running node_exporter."""
    with NodeExporterServer(tmp_path / "node_exporter") as server:
        yield server


@pytest.fixture(scope="session")
def shared_prometheus(servers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One Prometheus for all tests of a worker, scraping itself every second: only to ask, never to change."""
    directory = tmp_path_factory.mktemp("shared-prometheus")
    with PrometheusServer(directory, scrape={"prometheus": ITSELF}) as server:
        server.wait_for("up")
        yield server

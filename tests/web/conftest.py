"""A running web server for the tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from exporter.config.sections.service import WebConfig
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server
from exporter.web.ui.facts import Running
from tests.support.pages import Watched

WATCHED = Watched()
Serve = Callable[..., Server]


@pytest.fixture
def page() -> Page:
    return Page(SelfMetrics())


@pytest.fixture
def feed() -> LatestVerdicts:
    return LatestVerdicts()


@pytest.fixture
def serve(page: Page, feed: LatestVerdicts) -> Iterator[Serve]:
    """Start servers on free ports: `serve(ready=…, reload=…, **WebConfig fields)`."""
    with ExitStack() as stack:

        def start(
            ready: Callable[[], bool] = lambda: True,
            reload: Callable[[], str | None] = lambda: None,
            running: Running | None = WATCHED.running,
            **config: Any,
        ) -> Server:
            hooks = Callbacks(ready, reload, feed=feed, running=running)
            server = Server(WebConfig(listen="127.0.0.1:0", **config), page, hooks)
            server.start()
            stack.callback(server.stop)
            return server

        yield start

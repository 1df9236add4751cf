"""Sources that are closed at the end of the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from deploy.demo.servers import PrometheusServer, backfill, openmetrics
from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.source.prometheus import Prometheus
from exporter.source.samples import RangeResult
from tests.support.waiting import PATIENCE


class Asked(Prometheus):
    """A source with a short way to ask for one sample at 60 s, which is what the stub's answer holds."""

    def once(self, expr: str = "up") -> RangeResult:
        return self.range(expr, 60.0, 60.0, 60.0)

    def allow(self, seconds: float = PATIENCE) -> None:
        """Change the deadline: a short one is for what hangs, and a busy machine needs a long one for what works."""
        self._session._config = self._session._config.model_copy(update={"deadline": seconds})


Connect = Callable[..., Asked]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make sources: `connect(url, deadline=…, limits={…}, **other keys of the prometheus section)`."""
    with ExitStack() as stack:

        def make(url: str, limits: dict[str, int] | None = None, **config: Any) -> Asked:
            settings = PrometheusConfig.model_validate({"url": url, "deadline": PATIENCE} | config)
            return stack.enter_context(closing(Asked(settings, LimitsConfig(**(limits or {})))))

        yield make


@pytest.fixture
def fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts, beyond what the server asks for."""
    monkeypatch.setattr("exporter.source.http_session._BACKOFF_SECONDS", 0.001)


BEGIN = 1_700_000_040
"""Start of the history, a multiple of 60."""

ODD_VALUES = (
    "plain",
    "",
    'a"} or vector(1) #',
    '"',
    "\\",
    '\\"',
    "\\n",
    "line\nbreak",
    "tab\there",
    "carriage\rreturn",
    "'",
    "`",
    "{}",
    '"}) or ({a="',
    ".*",
    "a|b",
    "a\\|b",
    "ünïcode",
    "日本語",
    "😀",
    "\u202egnirts",
    "\ufffd",
    "\u2028",
    "\x7f",
    "\x01",
    "\x1b[31m",
    "$1",
    "{{ .Value }}",
    "x" * 2000,
    " leading",
    "trailing ",
)


@pytest.fixture(scope="session")
def filled(servers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus with an hour of history from BEGIN: to ask, never to change.

    `ramp{n}` counts minutes for n = 0 … 9, n = 9 only in the second half; `strange` is NaN, +Inf, -Inf and 1 in turn;
    `odd{value}` is 1 for each of ODD_VALUES.
    """
    directory = tmp_path_factory.mktemp("filled")
    times = [BEGIN + 60.0 * minute for minute in range(60)]
    strange = [float(text) for text in ("nan", "inf", "-inf", "1")] * 15

    def lines() -> Iterator[str]:
        yield "# TYPE ramp gauge"
        for n in range(10):
            since = 30 if n == 9 else 0
            yield from openmetrics("ramp", {"n": str(n)}, times[since:], [float(minute) for minute in range(since, 60)])
        yield "# TYPE strange gauge"
        yield from (
            line.replace(" inf", " +Inf").replace(" -inf", " -Inf").replace(" nan", " NaN")
            for line in openmetrics("strange", {}, times, strange)
        )
        yield "# TYPE odd gauge"
        for value in ODD_VALUES:
            yield from openmetrics("odd", {"value": value}, times[-1:], [1.0])

    backfill(directory, lines())
    with PrometheusServer(directory) as server:
        yield server

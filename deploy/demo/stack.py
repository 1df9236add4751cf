"""All servers of the live demo."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from deploy.demo.local import SlackReceiver
from deploy.demo.process import Server, ServerError
from deploy.demo.servers import (
    ITSELF,
    AlertmanagerServer,
    ExporterServer,
    NodeExporterServer,
    PrometheusServer,
    backfill,
    free_port,
)
from deploy.demo.shop import METRIC, Shop, history
from detectors.units import HOUR
from exporter.config.sections.root import Config
from rules.alerts.names import alert_names
from rules.generate import generate, write

S = TypeVar("S", bound=Server)

JOB: Final = "shop-latency"
ALERT: Final = alert_names([JOB])[JOB]
STEP: Final = 5.0
"""Seconds between samples."""
LEARNT: Final = 2 * HOUR
"""Seconds of history that the job of the shop learns from before its first score."""
SHOP_JOB: Final[dict[str, Any]] = {
    "expr": METRIC,
    "direction": "above",
    "step": f"{STEP:g}s",
    "window": "30m",
    "history": f"{LEARNT:g}s",
    "clear_after": "15s",
    # Shared by three pages. With 1 per week the alert would be about twenty seconds later.
    "budget": "2 per week",
    "publish": ["value", "expected", "lower", "upper", "severity", "alert"],
    "alert": {"severity": "page", "keep_firing_for": "0s"},
}


def demo_config(prometheus: str) -> dict[str, Any]:
    """Return the configuration of the exporter: the shop, and CPU and memory of this host."""
    host = {
        "direction": "above",
        "step": f"{STEP:g}s",
        "window": "10m",
        "publish": ["value", "alert"],
    }
    return {
        "prometheus": {"url": prometheus, "deadline": "4s"},
        "log": {"format": "console"},
        "jobs": {
            JOB: SHOP_JOB,
            "host-cpu": {
                **host,
                "expr": '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[30s]))',
                "least_deviation": 0.5,
            },
            "host-memory": {
                **host,
                "expr": "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
                "least_deviation": 0.2,
            },
        },
    }


def alerting(webhook: Path) -> dict[str, Any]:
    """Return the alerting configuration: all alerts immediately to one Slack channel, its webhook in a file."""
    slack = {"webhook": {"file": str(webhook)}, "channel": "#alerts"}
    receiver = {
        "slack": slack,
        "group_by": ["alertname"],
        "group_wait": "0s",
        "rate_limit": {"count": 240, "interval": "10m"},  # an interval of 5s, so that the resolved message comes soon
    }
    return {"receivers": {"slack": receiver}, "routes": {"ticket": ["slack"], "page": ["slack"]}}


class Stack:
    """The servers of the live demo in `folder`; a context manager that starts and stops them.

    Parameters
    ----------
    folder : Path
        Folder for all files of the servers.
    say : callable taking str
        Called with a line about each step.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._stack = ExitStack()
        self.shop, self.receiver = Shop(), SlackReceiver()
        self.servers: list[Server] = []

    def __enter__(self) -> "Stack":
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()  # all started: keep them until __exit__
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        enter, folder = self._stack.enter_context, self._folder
        enter(self.shop)
        enter(self.receiver)
        self.node = self._run(NodeExporterServer(folder / "node_exporter"))
        secret = folder / "slack-webhook"
        secret.write_text(self.receiver.webhook)
        generated = generate(
            Config.model_validate({**demo_config("http://localhost:9090"), "alerting": alerting(secret)})
        )
        write(folder / "generated", generated)
        self.alertmanager = self._run(AlertmanagerServer(folder / "alertmanager", generated["alertmanager.yml"]))
        page = free_port()
        self.prometheus = PrometheusServer(
            folder / "prometheus",
            scrape={
                "prometheus": ITSELF,
                "node": self.node.address,
                "shop": self.shop.address,
                "anomaly-exporter": f"127.0.0.1:{page}",
            },
            interval="2s",
            rules=[folder / "generated" / "rules" / "*.yml"],
            alertmanager=self.alertmanager.address,
        )
        self._say("building two days of history")
        backfill(self.prometheus.directory, history(time.time(), STEP, LEARNT))
        self._run(self.prometheus)
        self.exporter = self._run(ExporterServer(folder / "exporter", demo_config(self.prometheus.url), port=page))

    def check(self) -> None:
        """Raise ServerError if a server has stopped."""
        for server in self.servers:
            if not server.running:
                raise ServerError(f"{server.name} has stopped")

    def log_tails(self) -> str:
        """Return the last lines of the log of every server, with the exporter at the end."""
        return "\n".join(f"--- {server.log.name}\n{server.log_tail()}" for server in self.servers)

    def _run(self, server: S) -> S:
        self._say(f"starting {server.name}")
        self.servers.append(server)
        self._stack.enter_context(server)
        return server

    def addresses(self) -> dict[str, str]:
        """Return the addresses to open in a browser, by name."""
        graph = f"{self.prometheus.url}/graph?g0.expr=anomaly_score&g0.tab=0&g0.range_input=15m"
        latency = f"&g1.expr={METRIC}&g1.tab=0&g1.range_input=2d"
        return {
            "exporter": f"{self.exporter.url}/",
            "Prometheus": graph + latency,
            "Alertmanager": f"{self.alertmanager.url}/api/v2/alerts",
        }

"""Receivers on loopback and the notifier that tells them."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.notify import http_post, receiver
from exporter.sinks.notify.notifier import Notifier
from exporter.sinks.notify.pages import OurPages
from tests.support.stub import Reply, Stub, serve
from tests.support.waiting import eventually

HOOK = "/services/T0CANARY/B0CANARY/canarycanary"


PNG = b"\x89PNG\r\n\x1a\npicture"
PAGES = OurPages(
    lambda: "http://me:9877/",
    lambda job, key, since: f"http://me:9877/series?job={job}&since={since:.0f}",
    lambda incident: PNG,
)


class Desk:
    """A notifier, its receivers, and what they got."""

    def __init__(self, stack: ExitStack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stack, self.folder, self.monkeypatch = stack, folder, monkeypatch
        self.metrics = SelfMetrics()

    def stub(self, *script: Reply | Callable[..., Reply]) -> Stub:
        return self.stack.enter_context(serve(*(script or (Reply(b"ok"),))))

    def config(self, slack: Stub | str | None = None, state: bool = True, jobs: Any = None, **notify: Any) -> Config:
        if slack is not None:
            self.monkeypatch.setenv("HOOK", slack if isinstance(slack, str) else slack.url + HOOK)
            notify["slack"] = {"env": "HOOK"}
        everything = {
            "jobs": jobs or {"cpu": {"expr": "up"}, "api": {"expr": "up"}},
            "notify": {"link": "http://wiki/anomalies"} | notify,
        }
        if state:
            everything["state"] = {"path": str(self.folder)}
        return Config.model_validate(everything)

    def open(self, config: Config, pages: OurPages | None = None) -> Notifier:
        notifier = Notifier(self.metrics, pages or OurPages(lambda: "http://me:9877"))
        notifier.prepare(config).commit()
        notifier.start()
        self.stack.callback(notifier.close, 5.0)
        return notifier

    def count(self, outcome: str, receiver: str = "slack") -> float:
        labels = {"receiver": receiver, "outcome": outcome}
        return self.metrics.registry.get_sample_value("anomaly_exporter_notifications_total", labels) or 0.0

    def pending(self, receiver: str = "slack") -> float | None:
        return self.metrics.registry.get_sample_value("anomaly_exporter_notifications_pending", {"receiver": receiver})


def texts(stub: Stub) -> list[str]:
    """Return the texts a Slack stub got."""
    return [json.loads(request.body)["text"] for request in stub.requests]


def arrived(stub: Stub, count: int, within: float = 10.0) -> list[str]:
    """Wait for so many messages, and for a moment whether there are more; return their texts."""
    eventually(lambda: len(stub.requests) >= count, within=within, every=0.01)
    threading.Event().wait(0.15)
    found = texts(stub)
    assert len(found) == count, found
    return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(receiver, "GATHER", 0.02)
    monkeypatch.setattr(receiver, "SHORTEST_PAUSE", 0.05)
    monkeypatch.setattr(http_post, "DEADLINE", 1.0)
    with ExitStack() as stack:
        yield Desk(stack, tmp_path / "state", monkeypatch)

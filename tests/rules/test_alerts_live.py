"""The generated rules and routing on real servers, with a page of ours that dies, falls silent and stammers."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.local import LocalServer
from deploy.demo.servers import AlertmanagerServer, PrometheusServer, get
from exporter.config.sections.root import Config
from rules.generate import generate
from tests.support.receivers import Inbox
from tests.support.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

READING = {
    "start_timestamp_seconds": time.time() - 60,
    "worst_timestamp_seconds": time.time() - 30,
    "score": 9,
    "value": 5,
    "expected": 1,
    "upper": 2,
}
COUNTS = 12
"""Seconds for which the newest verdict counts: more than a busy machine delays a scrape."""
SPANS = {"[5m]": f"[{COUNTS}s]", "for: 2m": "for: 3s", "[30m]": "[30s]"}
"""The spans of the rules, shortened: nobody waits five minutes for a test."""


class Page(LocalServer):
    """What the exporter would show: `pods` by their anomaly_alert; silent: the source is gone; broken: no page."""

    def __init__(self) -> None:
        super().__init__()
        self.pods: dict[str, int] = {}
        self.silent = self.broken = self.stammers = False
        self._asked = itertools.count()

    def get(self) -> str:
        if self.broken or (self.stammers and next(self._asked) % 2):
            return "this is no page {"
        state = "stale" if self.silent else "ready"
        lines = [
            f'anomaly_exporter_series{{query="api",detector="robust",state="{state}"}} {len(self.pods)}',
            f'anomaly_exporter_last_success_timestamp_seconds{{query="api"}} {0 if self.silent else time.time()}',
        ]
        if not self.silent:
            flagged = sum(self.pods.values()) / max(len(self.pods), 1)
            lines.append(f'anomaly_exporter_flagged_ratio{{query="api",detector="robust"}} {flagged}')
            for pod, alert in self.pods.items():
                labels = f'{{query="api",detector="robust",pod="{pod}"}}'
                lines += [f"anomaly_{name}{labels} {alert}" for name in ("alert", "flag")]
                if alert:
                    lines += [f"anomaly_incident_{name}{labels} {value}" for name, value in READING.items()]
        return "\n".join(lines) + "\n"


class Chain:
    """Page, Prometheus, Alertmanager and receiver, with generated rules and routing."""

    def __init__(self, page: Page, inbox: Inbox, prometheus: PrometheusServer) -> None:
        self.page, self.inbox, self.prometheus = page, inbox, prometheus

    def told(self, status: str, name: str = "AnomalyApi") -> list[dict[str, Any]]:
        """Return the alerts of a name that notices told with a status, one entry for each time."""
        posts = [post.body["alerts"] for post in self.inbox.posts]
        return [a for alerts in posts for a in alerts if (a["status"], a["labels"]["alertname"]) == (status, name)]

    def firing(self, name: str = "AnomalyApi") -> int:
        """Return how many alerts of a name fire in Prometheus."""
        return len(self.prometheus.query(f'ALERTS{{alertname="{name}",alertstate="firing"}}'))


@pytest.fixture
def chain(
    tmp_path: Path,
    prometheus: Callable[..., PrometheusServer],
    alertmanager: Callable[..., AlertmanagerServer],
) -> Iterator[Callable[..., Chain]]:
    with ExitStack() as stack:

        def start(**alert: Any) -> Chain:
            page, inbox = stack.enter_context(Page()), stack.enter_context(Inbox())
            job = {
                "expr": "up",
                "step": "1s",
                "max_age": "3s",
                "publish": ["alert", "value"],
                "alert": {"keep_firing_for": "1s", **alert},
            }
            receiver = {
                "webhook": {"url": f"{inbox.url}/webhook", "max_alerts": 20},
                "group_by": ["alertname"],
                "group_wait": "500ms",
                "rate_limit": {"count": 1000, "interval": "500s"},
                "repeat_interval": "1h",
            }
            alerting = {"receivers": {"chat": receiver}, "routes": {"ticket": ["chat"]}}
            made = generate(Config.model_validate({"jobs": {"api": job}, "alerting": alerting}))
            for name in ("exporter", "job-api"):
                text = made[f"rules/{name}.yml"]
                for long, short in SPANS.items():
                    text = text.replace(long, short)
                (tmp_path / f"{name}.yml").write_text(text)
            server = prometheus(
                scrape={"anomaly-exporter": page.address},
                interval="1s",
                rules=[tmp_path / "*.yml"],
                alertmanager=alertmanager(made["alertmanager.yml"]).address,
            )
            return Chain(page, inbox, server)

        yield start


def test_no_false_end_and_no_second_page_when_we_die_or_prometheus_restarts(chain: Callable[..., Chain]) -> None:
    """Row 45: the alert stays while nothing is reachable; our end has its own alert and is sent once known."""
    run = chain()
    run.page.pods = {"a": 1, "b": 0}
    eventually(lambda: run.told("firing"))
    assert "observed 5, expected 1 (normal: at most 2), score 9 " in run.told("firing")[0]["annotations"]["description"]
    run.page.broken = True
    eventually(lambda: run.told("firing", "AnomalyExporterDown"))
    time.sleep(COUNTS + 2)  # and longer than keep_firing_for
    assert run.firing() == 1
    run.prometheus.restart()
    eventually(lambda: run.firing() == 1)
    run.page.broken = False
    eventually(lambda: run.told("resolved", "AnomalyExporterDown"))
    assert run.firing() == 1
    assert (len(run.told("firing")), run.told("resolved")) == (1, []), "neither a second page nor a false end"
    run.page.pods["a"] = 0
    eventually(lambda: run.told("resolved"))
    assert len(run.told("firing")) == 1


def test_no_false_end_when_the_source_dies(chain: Callable[..., Chain]) -> None:
    """Row 46: the scores are withdrawn, the alert stays, and the silence has an alert of its own."""
    run = chain()
    run.page.pods = {"a": 1, "b": 0}
    eventually(lambda: run.told("firing"))
    run.page.silent = True
    eventually(lambda: run.told("firing", "AnomalyScoresStale"))
    time.sleep(COUNTS + 2)
    assert (run.firing(), run.told("resolved"), run.firing("AnomalySeriesVanished")) == (1, [], 0)
    run.page.silent = False
    del run.page.pods["a"]
    eventually(lambda: run.told("resolved"))


def test_an_alert_fires_though_every_second_scrape_fails(chain: Callable[..., Chain]) -> None:
    """Row 47."""
    run = chain(**{"for": "4s"})
    run.page.stammers = True
    run.page.pods = {"a": 1}
    eventually(lambda: run.told("firing"))
    assert run.firing("AnomalyExporterDown") == 0


def test_ten_thousand_entities_at_once_are_told_in_few_notices(chain: Callable[..., Chain]) -> None:
    """Row 48: readings are left out of so many texts, so that the evaluation keeps its pace."""
    run = chain()
    run.page.pods = {f"p{n}": 1 for n in range(10_000)}
    eventually(lambda: run.firing() == 10_000, within=2 * PATIENCE, every=1)
    time.sleep(5)
    own = get(f"{run.prometheus.url}/metrics", timeout=PATIENCE).text
    spent = [float(line.split()[-1]) for line in own.splitlines() if line.startswith("prometheus_rule_group_last_dur")]
    print(f"evaluating the rules of 10,000 firing alerts took {max(spent):.2f}s")
    assert len(run.inbox.posts) <= 20
    assert len(run.told("firing")) <= 20 * len(run.inbox.posts)
    assert "One of more than 100 series" in run.told("firing")[0]["annotations"]["description"]

"""A rack that fails over two replicas, from their pages over a real Prometheus to Alertmanager: one message."""

import dataclasses
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from deploy.demo.local import LocalServer
from deploy.demo.servers import AlertmanagerServer, PrometheusServer
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.shard import Shard
from exporter.service.replica_watch import Mine, ReplicaWatch
from exporter.sinks.joint_log import JointLog
from exporter.sinks.metrics_page import Page
from exporter.sinks.recent import RecentVerdicts
from exporter.source.prometheus import Prometheus
from rules.generate import generate
from tests.support.receivers import Inbox
from tests.support.verdicts import key, verdict
from tests.support.waiting import eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

KEYS = tuple(key(service=f"s{rack}-{n}", rack=f"r{rack}") for rack in range(6) for n in range(40))
JOB = {
    "expr": "up",
    "step": "1s",
    "max_age": "3s",
    "publish": ["alert", "value"],
    "alert": {"for": "15s", "keep_firing_for": "1s"},
}


class Replica(LocalServer):
    """The real page of one of two replicas, which hears of the other from Prometheus."""

    def __init__(self, index: int, began: float) -> None:
        super().__init__()
        shard = Shard(index, 2)
        self.keys, self.began = tuple(each for each in KEYS if shard.owns(each)), began
        self.owns, self.metrics, self.recent = shard.owns, SelfMetrics(), RecentVerdicts()
        self.joint = JointLog(self.recent, self.metrics)
        self.page = Page(self.metrics, self.joint.joined)
        config = Config.model_validate({"jobs": {"latency": {"expr": "up"}}})
        self.joint.prepare(config).commit()
        self.recent.prepare(config).commit()
        self.rack = np.array([dict(each)["rack"] == "r2" for each in self.keys])

    def watched_from(self, server: PrometheusServer) -> ReplicaWatch:
        config = Config.model_validate({"prometheus": {"url": server.url}, "jobs": {"latency": {"expr": "up"}}})
        source = Prometheus(config.prometheus, config.limits)
        mine = Mine(self.owns, frozenset({"service", "rack"}))
        read = lambda expr, now: source.range(expr, now, now, 60.0, max_series=1000)  # noqa: E731
        return ReplicaWatch(self.joint, 2, read, lambda _job: mine, self.metrics)

    def show(self, at: float, failing: bool) -> None:
        flag = self.rack & failing
        since = np.where(flag, self.began, np.nan)
        shown = verdict(self.keys, job="latency", flag=flag, alert=flag, since=since)
        shown = dataclasses.replace(shown, time=self.began + at)
        self.recent.record(shown)
        self.joint.record(shown)
        self.page.publish(shown, ("alert", "value"))
        self.page.render()

    def get(self) -> str:
        return self.page.current.body.decode()


def test_a_rack_over_two_replicas_is_one_message(
    tmp_path: Path, prometheus: Callable[..., PrometheusServer], alertmanager: Callable[..., AlertmanagerServer]
) -> None:
    with ExitStack() as stack:
        began = time.time()
        replicas = [stack.enter_context(Replica(index, began)) for index in (0, 1)]
        inbox = stack.enter_context(Inbox())
        for each in replicas:
            each.show(-60, failing=False)
            each.show(0, failing=True)
        assert len({joint.id for each in replicas for joint in each.joint.open()}) == 2, "they know nothing yet"
        receiver = {
            "webhook": {"url": f"{inbox.url}/webhook", "max_alerts": 200}, "group_wait": "10s", "repeat_interval": "1h",
            "rate_limit": {"count": 1000, "interval": "500s"},
        }  # fmt: skip
        alerting = {"receivers": {"chat": receiver}, "routes": {"ticket": ["chat"]}}
        made = generate(Config.model_validate({"jobs": {"latency": JOB}, "alerting": alerting}))
        text = made["rules/job-latency.yml"].replace("[5m]", "[12s]")
        (tmp_path / "job-latency.yml").write_text(text)
        server = prometheus(
            scrape={f"anomaly-exporter-{n}": each.address for n, each in enumerate(replicas)}, interval="1s",
            rules=[tmp_path / "job-*.yml"], alertmanager=alertmanager(made["alertmanager.yml"]).address,
        )  # fmt: skip
        count = "count(anomaly_incident_moved_timestamp_seconds)"
        eventually(lambda: [each["value"][1] for each in server.query(count)] == ["40"])
        for each in replicas:
            each.watched_from(server).look(time.time())
            each.show(1, failing=True)
        [joint] = {joint.id for each in replicas for joint in each.joint.open()}
        assert all(len(each.joint.open()[0].members) == 40 for each in replicas)
        anomalies = lambda: [post for post in inbox.posts if "anomaly_incident" in post.body["groupLabels"]]  # noqa: E731
        eventually(lambda: anomalies() and len(anomalies()[-1].body["alerts"]) == 40)
        assert {post.body["groupLabels"]["anomaly_incident"] for post in anomalies()} == {joint}
        [told] = {alert["annotations"]["description"] for alert in anomalies()[-1].body["alerts"]}
        assert told.startswith("one of 40 series that moved together; ")

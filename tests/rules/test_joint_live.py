"""A rack that fails, from verdicts over the real page, Prometheus and Alertmanager to the receiver: one message."""

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
from exporter.sinks.joint_log import JointLog
from exporter.sinks.metrics_page import Page
from exporter.sinks.recent import RecentVerdicts
from rules.generate import generate
from tests.support.receivers import Inbox
from tests.support.verdicts import key, verdict
from tests.support.waiting import eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

KEYS = tuple(key(service=f"s{rack}-{n}", rack=f"r{rack}") for rack in range(6) for n in range(40))
R2 = np.array([dict(each)["rack"] == "r2" for each in KEYS])
FIRST = int(np.flatnonzero(R2)[7])
JOBS = ("latency", "errors")


class Exporter(LocalServer):
    """The real page of two jobs, whose verdicts the test makes."""

    def __init__(self) -> None:
        super().__init__()
        metrics, self.recent = SelfMetrics(), RecentVerdicts()
        self.joint = JointLog(self.recent, metrics)
        self.page = Page(metrics, self.joint.joined)
        self.config = Config.model_validate({"jobs": {job: {"expr": "up"} for job in JOBS}})
        self.joint.prepare(self.config).commit()
        self.recent.prepare(self.config).commit()
        self.broken, self.began = False, time.time()

    def show(self, at: float, open_: np.ndarray, out: np.ndarray) -> None:
        for job in JOBS:
            flag = open_.copy()
            values = np.where(out, 9.0, 5.0)[:, None]
            since = np.where(flag, self.began, np.nan)
            limits = {
                name: np.full_like(values, at) for name, at in (("expected", 5.0), ("lower", 4.0), ("upper", 6.0))
            }
            shown = verdict(KEYS, job=job, flag=flag, alert=flag, since=since, values=values, **limits)
            shown = dataclasses.replace(shown, time=self.began + at)
            self.recent.record(shown)
            self.joint.record(shown)
            self.page.publish(shown, ("alert", "value"))
        self.page.render()

    def get(self) -> str:
        return "this is no page {" if self.broken else self.page.current.body.decode()


def test_a_rack_is_one_message_that_names_the_first_mover_and_stays_one_while_we_are_away(
    tmp_path: Path, prometheus: Callable[..., PrometheusServer], alertmanager: Callable[..., AlertmanagerServer]
) -> None:
    with ExitStack() as stack:
        ours, inbox = stack.enter_context(Exporter()), stack.enter_context(Inbox())
        first = np.arange(len(KEYS)) == FIRST
        ours.show(-180, np.zeros(len(KEYS), bool), np.zeros(len(KEYS), bool))
        ours.show(-60, np.zeros(len(KEYS), bool), first)
        ours.show(0, R2, R2)
        receiver = {
            "webhook": {"url": f"{inbox.url}/webhook", "max_alerts": 200}, "group_wait": "10s", "repeat_interval": "1h",
            "rate_limit": {"count": 1000, "interval": "500s"},
        }  # fmt: skip
        jobs = {
            job: {"expr": "up", "step": "1s", "max_age": "3s", "publish": ["alert", "value"],
                  "alert": {"keep_firing_for": "1s"}}
            for job in JOBS
        }  # fmt: skip
        alerting = {"receivers": {"chat": receiver}, "routes": {"ticket": ["chat"]}}
        made = generate(Config.model_validate({"jobs": jobs, "alerting": alerting}))
        for job in JOBS:
            text = made[f"rules/job-{job}.yml"].replace("[5m]", "[12s]").replace("for: 2m", "for: 3s")
            (tmp_path / f"job-{job}.yml").write_text(text)
        server = prometheus(
            scrape={"anomaly-exporter": ours.address}, interval="1s", rules=[tmp_path / "*.yml"],
            alertmanager=alertmanager(made["alertmanager.yml"]).address,
        )  # fmt: skip
        anomalies = lambda: [post for post in inbox.posts if "anomaly_incident" in post.body["groupLabels"]]  # noqa: E731
        eventually(lambda: anomalies() and len(anomalies()[-1].body["alerts"]) == 80)
        [joint] = ours.joint.open()
        [group] = {post.body["groupLabels"]["anomaly_incident"] for post in anomalies()}
        assert group == joint.id
        told = anomalies()[-1].body["alerts"]
        assert {alert["labels"]["query"] for alert in told} == set(JOBS)
        of_few = "One of more than" not in told[0]["annotations"]["description"]
        named = f"one of 80 series that moved together; rack=r2, service={dict(KEYS[FIRST])['service']} in "
        assert not of_few or named in told[0]["annotations"]["description"]
        ours.broken = True
        time.sleep(14)  # longer than the newest result counts
        ids = server.query(
            'count by (anomaly_incident) (ALERTS{alertstate="firing",alertname=~"Anomaly(Latency|Errors)"})'
        )
        assert [(each["metric"]["anomaly_incident"], each["value"][1]) for each in ids] == [(joint.id, "80")]
        assert len(anomalies()) == 1, "one message, and no second one while we were away"
        ours.broken = False
        ours.show(60, np.zeros(len(KEYS), bool), np.zeros(len(KEYS), bool))
        eventually(lambda: anomalies()[-1].body["status"] == "resolved")
        assert {post.body["groupLabels"]["anomaly_incident"] for post in anomalies()} == {joint.id}

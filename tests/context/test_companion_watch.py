"""What else moved, as a metric from which alerts of Alertmanager tell it."""

import dataclasses

import numpy as np

from exporter.config.sections.root import Config
from exporter.context.joint import Member
from exporter.observe.metrics import SelfMetrics
from exporter.service.companion_watch import AGAIN, AT_ONCE, CompanionWatch
from exporter.sinks.joint_log import JointLog
from exporter.web.ui.related_told import Companions, companions_of
from tests.context.moving import MOVING, watched
from tests.support.verdicts import key, verdict

KEYS = tuple(key(host=f"h{n}") for n in range(40))
NOW = 1_800_000_000.0
METRIC = "anomaly_exporter_joint_incident_companions"


class Alerting:
    """A log of incidents that are alerts, and a watch of them that answers `found`."""

    def __init__(self) -> None:
        self.metrics, self.joint = SelfMetrics(), JointLog()
        self.asked: list[str] = []
        self.found = Companions(3, "host=b in disk rose from 1 to 9")
        self.watch = CompanionWatch(self.joint, self._companions, self.metrics)

    def _companions(self, member: Member) -> Companions:
        self.asked.append(member.labels["host"])
        return self.found

    def cycle(self, at: float, alerts: int, flags: int | None = None) -> None:
        rows = np.arange(len(KEYS))
        flag, alert = rows < (alerts if flags is None else flags), rows < alerts
        since = np.where(flag, NOW + 7200.0 * rows, np.nan)  # so far from each other that none are one
        shown = verdict(KEYS, flag=flag, alert=alert, since=since)
        self.joint.record(dataclasses.replace(shown, time=NOW + at))

    def published(self) -> list[tuple[dict[str, str], float]]:
        samples = next(each for each in self.metrics.registry.collect() if each.name == METRIC).samples
        return [(each.labels, each.value) for each in samples]


def test_where_every_incident_is_an_alert_each_has_companions() -> None:
    of = Alerting()
    jobs = {"cpu": {"expr": "up", "alert": {"metric": "flag"}}}
    of.joint.prepare(Config.model_validate({"jobs": jobs})).commit()
    of.cycle(0, alerts=0, flags=1)
    of.watch.look(NOW)
    assert of.asked == ["h0"]
    of.joint.prepare(Config.model_validate({"jobs": {"cpu": {"expr": "up"}}})).commit()
    of.cycle(60, alerts=0, flags=2)
    of.watch.look(NOW + 60)
    assert of.asked == ["h0"]


def test_an_alert_is_asked_twice_and_published_until_it_is_over() -> None:
    of = Alerting()
    of.cycle(0, alerts=1, flags=2)
    of.watch.look(NOW)
    of.watch.look(NOW + 5)
    assert of.asked == ["h0"]
    [(labels, value)] = of.published()
    assert labels["companions"] == "host=b in disk rose from 1 to 9"
    assert value == 3
    assert labels["anomaly_incident"] == of.joint.alerting(9)[0][0]
    of.found = Companions(1, "host=c in disk fell from 9 to 1")
    of.watch.look(NOW + AGAIN)
    of.watch.look(NOW + 3 * AGAIN)
    assert of.asked == ["h0", "h0"]
    assert [labels["companions"] for labels, _ in of.published()] == ["host=c in disk fell from 9 to 1"]
    of.cycle(4 * AGAIN, alerts=0)
    of.watch.look(NOW + 4 * AGAIN)
    assert of.published() == []


def test_a_storm_is_asked_about_a_few_at_a_time_the_newest_first() -> None:
    of = Alerting()
    for count in range(1, 11):
        of.cycle(7200.0 * count, alerts=count)
    of.watch.look(NOW)
    assert of.asked == ["h9", "h8"][:AT_ONCE]
    assert len(of.joint.alerting(5)) == 5


def test_where_nothing_surely_moved_nothing_is_published() -> None:
    of = Alerting()
    of.found = Companions(0, "")
    of.cycle(0, alerts=1)
    of.watch.look(NOW)
    assert of.asked == ["h0"]
    assert of.published() == []


def test_the_companions_of_an_incident_are_counted_and_named() -> None:
    shown = watched()
    [(_, member)] = [(each.id, each.first) for each in shown.joint.open()]
    found = companions_of(shown.running, "cpu", MOVING, member.since)
    assert found.count == 1
    assert found.text.startswith("host=b in disk rose from 1")
    assert companions_of(shown.running, "gone", MOVING, member.since).count == 0

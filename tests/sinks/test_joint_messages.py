"""Forty consequences of one rack are one message, which says who moved first."""

import dataclasses
import json

import numpy as np

from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.joint_log import JointLog
from exporter.sinks.notify import edited
from exporter.sinks.notify.delivery import ABSORBED, HELD, DeliveryState
from exporter.sinks.notify.joined import note_joint
from exporter.sinks.notify.message import compose
from exporter.sinks.notify.notifier import Notifier
from exporter.sinks.notify.pages import OurPages
from exporter.sinks.recent import RecentVerdicts
from tests.sinks.conftest import arrived
from tests.support.slack import CHANNEL, TOKEN, workspace
from tests.support.verdicts import key, verdict
from tests.support.waiting import eventually

NOW = 1_800_000_000.0
KEYS = tuple(key(service=f"s{rack}-{n}", rack=f"r{rack}") for rack in range(6) for n in range(40))
R2 = [row for row, each in enumerate(KEYS) if dict(each)["rack"] == "r2"]


class Receiver:
    """What one receiver is sent, without a thread: two jobs, whose incidents open and end row by row."""

    def __init__(self, config: Config | None = None) -> None:
        self.log, self.state, self.sent = JointLog(RecentVerdicts(), SelfMetrics()), DeliveryState(), []
        self.log.prepare(config or Config.model_validate({"jobs": {"a": {"expr": "up"}, "b": {"expr": "up"}}})).commit()
        self.since: dict[tuple[str, int], float] = {}

    def shown(self, at: float, job: str, rows: list[int]):
        flag = np.isin(np.arange(len(KEYS)), rows)
        for row in range(len(KEYS)):
            if flag[row]:
                self.since.setdefault((job, row), NOW + at)
            else:
                self.since.pop((job, row), None)
        since = [self.since.get((job, row), np.nan) for row in range(len(KEYS))]
        shown = verdict(KEYS, job=job, flag=flag, alert=flag, since=since, score=np.where(flag, 4.0, 0.3))
        return dataclasses.replace(shown, time=NOW + at)

    def cycle(self, at: float, a: list[int], b: list[int]) -> None:
        for job, rows in (("a", a), ("b", b)):
            shown = self.shown(at, job, rows)
            self.log.record(shown)
            self.state.take(shown, "alert")
        note_joint(self.state.incidents(), self.log.joined)
        self.state.absorb()
        assert bool(self.state.pending_count()) == bool(self.state.pending().size)
        if (pending := self.state.pending()).size:
            self.sent.append(compose(pending, "", NOW + at))
            self.state.mark_sent(pending)
            self.state = DeliveryState.decode(self.state.encode())  # as a restart would


def test_what_a_rack_brings_is_one_message_and_its_end_another() -> None:
    to = Receiver()
    to.cycle(0, [], [])
    to.cycle(60, R2[:5], [])
    to.cycle(120, R2[:30], R2[:7])
    to.cycle(300, R2, R2)
    [text] = to.sent
    assert text.splitlines()[0] == (
        "ANOMALY in a: 5 series moved together (rack=r2), since 08:01 UTC (0 s). rack=r2, service=s2-0 in a moved "
        "first, at 08:01 UTC. The worst:"
    )
    assert text.splitlines()[-1] == "and 2 more"
    to.cycle(360, R2[:3], [])
    to.cycle(420, R2[:1], [])
    assert len(to.sent) == 1
    to.cycle(480, [], [])
    assert to.sent[1:] == ["OVER in a, b: 80 incidents that moved together: back to normal"]


def test_what_joins_late_is_told_and_says_what_it_belongs_to() -> None:
    to = Receiver()
    to.cycle(0, [], [])
    to.cycle(60, R2[:10], [])
    to.cycle(60 + ABSORBED, R2[:11], [])
    assert len(to.sent) == 1
    to.cycle(120 + ABSORBED, R2[:12], [])
    assert len(to.sent) == 2
    assert to.sent[1].splitlines()[0] == "ANOMALY in a: rack=r2, service=s2-11"
    assert (
        to.sent[1]
        .splitlines()[1]
        .startswith(
            "one of 12 series that moved together; rack=r2, service=s2-0 in a moved first, at 08:01 UTC; worst "
        )
    )


def test_an_end_does_not_wait_for_ever_for_the_others() -> None:
    to = Receiver()
    to.cycle(0, [], [])
    to.cycle(60, R2[:3], [])
    to.cycle(120, R2[:1], [])
    assert len(to.sent) == 1
    to.cycle(120 + HELD, R2[:1], [])
    assert to.sent[1].startswith("OVER in a: 2 incidents that moved together")


def test_unrelated_incidents_are_messages_of_their_own() -> None:
    to = Receiver()
    to.cycle(0, [], [])
    to.cycle(60, [R2[0]], [])
    to.cycle(120, [R2[0], 0], [])
    assert len(to.sent) == 2
    assert "moved together" not in "".join(to.sent)


def test_a_running_notifier_sends_one_message_with_what_else_moved(desk) -> None:
    stub = desk.stub()
    jobs = {"a": {"expr": "up"}, "b": {"expr": "up"}}
    config = desk.config(stub, jobs=jobs, rate_limit={"count": 1000, "interval": "1s"})
    to = Receiver(config)
    pages = OurPages(lambda: "http://me", companions=lambda _: "at the same time host=b in disk rose from 1 to 9")
    notifier = Notifier(desk.metrics, pages, to.log.joined)
    notifier.prepare(config).commit()
    notifier.start()
    desk.stack.callback(notifier.close, 5.0)

    def cycle(at: float, rows: list[int]) -> None:
        some = [to.shown(at, job, rows) for job in jobs]
        for shown in some:
            to.log.record(shown)
            notifier.show(shown, config.jobs[shown.job])

    cycle(0, [])
    cycle(60, R2[:20])
    [text] = arrived(stub, 1)
    assert "40 series of 2 jobs moved together (rack=r2)" in text
    assert "At the same time host=b in disk rose from 1 to 9." in text
    assert text.count("t the same time") == 1
    cycle(180, [])
    texts = arrived(stub, 2)
    assert texts[1].startswith("OVER in a, b: 40 incidents that moved together")
    assert json.loads(stub.requests[0].body)


def test_in_slack_the_one_message_is_edited_as_more_of_the_rack_joins(desk, monkeypatch) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setattr(edited, "EDIT_EVERY", 0.05)
    with workspace() as slack:
        app = {"token": {"env": "TOKEN"}, "channel": CHANNEL, "url": slack.url}
        config = desk.config(slack_app=app, jobs={"a": {"expr": "up"}}, link=None)
        to = Receiver(config)
        notifier = Notifier(desk.metrics, OurPages(lambda: "http://me"), to.log.joined)
        notifier.prepare(config).commit()
        notifier.start()
        desk.stack.callback(notifier.close, 5.0)

        def cycle(at: float, rows: list[int]) -> None:
            shown = to.shown(at, "a", rows)
            to.log.record(shown)
            notifier.show(shown, config.jobs["a"])

        cycle(0, [])
        cycle(60, R2[:3])
        eventually(lambda: slack.messages)
        assert "3 series moved together (rack=r2)" in slack.text()
        cycle(120, R2[:30])
        eventually(lambda: "30 series moved together (rack=r2)" in slack.text())
        cycle(180, [])
        eventually(lambda: slack.text().startswith("🟢 OVER in a: 30 incidents that moved together: back to normal"))
        assert slack.pushed == 1

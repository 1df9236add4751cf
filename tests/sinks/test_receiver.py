"""Messages on their way to a receiver that is slow, broken, hostile or gone."""

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import structlog

from exporter.config.sections.job import JobConfig
from exporter.config.sections.service import LogConfig
from exporter.observe.logs import configure
from exporter.sinks.notify import receiver as receiver_module
from tests.sinks.conftest import HOOK, arrived
from tests.sinks.test_delivery import judged
from tests.support.stub import Reply
from tests.support.verdicts import key, verdict
from tests.support.waiting import eventually

JOB = JobConfig(expr="up")
ON, OFF = judged([True, False]), judged([False, False], [0.2, 0.2], at=30)


def many(count, at=0.0, job="cpu", on=True):
    return judged(
        [on] * count, [2.0 if on else 0.1] * count, at=at, job=job, keys=tuple(key(i=str(n)) for n in range(count))
    )


def test_one_message_when_it_opens_and_one_when_it_is_over(desk):
    slack = desk.stub()
    notifier = desk.open(desk.config(slack))
    for _ in range(5):
        notifier.show(ON, JOB)
    assert arrived(slack, 1)[0].startswith("ANOMALY in cpu: instance=a\n")
    notifier.show(OFF, JOB)
    over = arrived(slack, 2)[1].splitlines()
    assert (over[0], over[-1]) == ("OVER in cpu: instance=a: back to normal", "http://wiki/anomalies")
    assert over[1].endswith("from 00:00 to 00:30 UTC (29 min)")
    assert slack.requests[0].path == HOOK
    assert slack.requests[0].headers["content-type"] == "application/json"
    assert desk.count("sent") == 2
    assert eventually(lambda: desk.pending() == 0)


def test_the_end_stays_unsaid_for_those_who_do_not_want_it(desk):
    slack = desk.stub()
    notifier = desk.open(desk.config(slack, resolved=False))
    notifier.show(ON, JOB)
    arrived(slack, 1)
    notifier.show(OFF, JOB)
    arrived(slack, 1)
    notifier.show(ON, JOB)
    arrived(slack, 2)


@pytest.mark.parametrize(
    "broken", [Reply(status=500), Reply(status=503), Reply(b"rate_limited", 429), Reply(raw=b"HTTP/1.1 2")]
)
def test_what_does_not_arrive_is_sent_again_until_it_does(desk, broken):
    """Row 9."""
    slack = desk.stub(broken, broken, Reply(b"ok"))
    with structlog.testing.capture_logs() as logs:
        desk.open(desk.config(slack)).show(ON, JOB)
        eventually(lambda: desk.count("sent") == 1, every=0.01)
    assert (len(slack.requests), desk.count("failed")) == (3, 2)
    bodies = {request.body for request in slack.requests}
    assert len(bodies) == 1
    assert [line["event"] for line in logs if line.get("receiver") == "slack"] == [
        "notification_not_sent",
        "notifications_recovered",
    ]


def test_the_pause_a_receiver_asks_for_is_kept(desk):
    """Row 9."""
    slack = desk.stub(Reply(status=429, headers={"Retry-After": "2"}), Reply(b"ok"))
    desk.open(desk.config(slack)).show(ON, JOB)
    arrived(slack, 2)
    assert slack.requests[1].at - slack.requests[0].at >= 2


def test_a_receiver_that_hangs_costs_nobody_else_anything_and_is_tried_again(desk):
    """Rows 2 and 3."""
    released = threading.Event()

    def hang(request):
        released.wait(60)
        return Reply(b"ok")

    hanging, webhook = desk.stub(hang), desk.stub()
    desk.monkeypatch.setenv("OTHER", webhook.url)
    notifier = desk.open(desk.config(hanging, webhook={"env": "OTHER"}))
    notifier.show(ON, JOB)
    assert (desk.count("sent"), desk.count("failed")) == (0, 0), "it did not wait for any of them"
    eventually(lambda: len(webhook.requests) == 1)
    eventually(lambda: desk.count("failed") >= 1)
    assert desk.count("sent") == 0
    released.set()
    eventually(lambda: desk.count("sent") == 1)


def test_nobody_listening_loses_nothing(desk):
    """What opens and ends meanwhile is told in one message, as soon as there is somebody."""
    gone = desk.stub()
    notifier = desk.open(desk.config("http://127.0.0.1:1" + HOOK))
    notifier.show(ON, JOB)
    eventually(lambda: desk.count("failed") >= 2)
    notifier.show(many(3, job="api"), JOB)
    eventually(lambda: desk.pending() == 4)
    notifier.show(many(3, job="api", on=False, at=9), JOB)
    eventually(lambda: desk.count("suppressed") == 3)
    notifier.prepare(desk.config(gone)).commit()
    [text] = arrived(gone, 1)
    assert text.startswith("ANOMALY in cpu: instance=a\n")
    assert "api: 3 incidents opened and ended before a message could be sent" in text


def test_a_redirect_is_not_followed(desk):
    """Row 17."""
    elsewhere = desk.stub()
    slack = desk.stub(Reply(status=307, headers={"Location": elsewhere.url}))
    with structlog.testing.capture_logs() as logs:
        desk.open(desk.config(slack)).show(ON, JOB)
        eventually(lambda: desk.count("failed") == 1)
    assert not elsewhere.requests
    [line] = [line for line in logs if line["event"] == "notification_not_sent"]
    assert "a redirect is not followed, set the final address" in line["error"]
    assert line["pause"] >= 100  # it will not get better soon


def test_a_message_that_is_refused_does_not_hold_up_those_that_follow(desk):
    slack = desk.stub(Reply(b"invalid_payload", 400), Reply(b"ok"))
    notifier = desk.open(desk.config(slack))
    notifier.show(ON, JOB)
    eventually(lambda: desk.count("failed") == 1)
    notifier.show(many(1, job="api"), JOB)
    assert arrived(slack, 2)[1].startswith("ANOMALY in api")


def test_no_proxy_and_no_password_of_the_environment_is_used(desk, tmp_path):
    """Row 18."""
    slack, proxy = desk.stub(), desk.stub()
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login us password canary\n")
    desk.monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        desk.monkeypatch.setenv(name, proxy.url)
    desk.open(desk.config(slack)).show(ON, JOB)
    arrived(slack, 1)
    assert "authorization" not in slack.requests[0].headers
    assert not proxy.requests


def test_at_most_so_many_messages_in_the_window_and_the_rest_in_the_next(desk):
    """Row 48: what comes beyond the limit waits, and is told together."""
    later = [0.0]
    wall = SimpleNamespace(time=lambda: time.time() + later[0], monotonic=time.monotonic)
    desk.monkeypatch.setattr(receiver_module, "time", wall)
    slack = desk.stub()
    notifier = desk.open(desk.config(slack, rate_limit={"count": 3, "interval": "10h"}))
    for n in range(3):
        notifier.show(many(n + 1), JOB)
        arrived(slack, n + 1)
    for n in range(3, 9):
        notifier.show(many(n + 1), JOB)
        eventually(lambda n=n: desk.pending() == n - 2, every=0.01)
    later[0] = 9 * 3600.0
    notifier.show(many(9), JOB)  # has it look at its clock
    arrived(slack, 3)
    later[0] = 10 * 3600.0
    notifier.show(many(9), JOB)
    [*_, last] = arrived(slack, 4)
    assert last.startswith("ANOMALY in cpu: 9 of 9 entities")


def test_a_flapping_entity_gives_at_most_three_messages_in_the_window(desk):
    slack = desk.stub()
    notifier = desk.open(desk.config(slack, rate_limit={"count": 3, "interval": "10m"}))
    for _ in range(12):
        for each in (ON, OFF):
            notifier.show(each, JOB)
            threading.Event().wait(0.06)
    assert len(arrived(slack, 3)) == 3


def test_fifty_entities_together_are_one_message(desk):
    slack = desk.stub()
    notifier = desk.open(desk.config(slack))
    keys = tuple(key(i=str(n)) for n in range(60))
    notifier.show(judged([n < 50 for n in range(60)], [2.0] * 60, keys=keys), JOB)
    [text] = arrived(slack, 1)
    assert text.startswith("ANOMALY in cpu: 50 of 60 entities, since ")
    assert len(text) < 1000
    notifier.show(many(60, on=False, at=20), JOB)
    assert arrived(slack, 2)[1].startswith("OVER in cpu: 50 incidents back to normal\n")


def test_ten_thousand_entities_and_five_hundred_jobs_at_once_stay_one_message_that_slack_takes(desk):
    """Row 48."""
    slack = desk.stub()
    jobs = {f"job-{n}": {"expr": "up"} for n in range(500)}
    notifier = desk.open(desk.config(slack, jobs=jobs))
    for job in jobs:
        notifier.show(many(20, job=job), JOB)
    eventually(lambda: desk.count("sent") and desk.pending() == 0, within=30)
    assert desk.count("sent") <= 3
    assert all(len(json.loads(request.body)["text"]) < 40_000 for request in slack.requests)


def test_a_restart_repeats_nothing_and_forgets_no_end(desk):
    """Row 44, and row 24: also when nobody said goodbye."""
    slack = desk.stub()
    config = desk.config(slack)
    killed = desk.open(config)
    killed.show(ON, JOB)
    arrived(slack, 1)
    again = desk.open(config)
    again.show(ON, JOB)
    arrived(slack, 1)
    again.close(5.0)
    down = desk.open(config)
    down.show(OFF, JOB)
    assert arrived(slack, 2)[1].startswith("OVER in cpu")


def test_the_limit_holds_over_a_restart(desk):
    slack = desk.stub()
    config = desk.config(slack, rate_limit={"count": 2, "interval": "10m"})
    for n in range(4):
        notifier = desk.open(config)
        notifier.show(many(n + 1), JOB)
        if n < 2:
            arrived(slack, n + 1)
        notifier.close(5.0)
    arrived(slack, 2)


def test_a_clock_set_back_does_not_silence_us(desk):
    """Row 40."""
    slack = desk.stub()
    notifier = desk.open(desk.config(slack, rate_limit={"count": 2, "interval": "10m"}))
    ledger = notifier._receivers["slack"]._state
    ledger.sent = [time.time() + 3600, time.time() + 3601]
    notifier.show(ON, JOB)
    arrived(slack, 1)


def test_a_damaged_memory_is_refused_and_said(desk):
    """Row 25."""
    slack = desk.stub()
    desk.folder.mkdir()
    (desk.folder / "notifications-slack.json").write_bytes(b"{}")
    with structlog.testing.capture_logs() as logs:
        desk.open(desk.config(slack)).show(ON, JOB)
        arrived(slack, 1)
    [line] = [line for line in logs if line["event"] == "notifications_refused"]
    assert line["hint"] == "open incidents are notified again"


def test_a_disk_that_is_full_or_read_only_does_not_silence_us(desk):
    """Row 22."""
    slack = desk.stub()
    desk.folder.write_text("no folder")
    with structlog.testing.capture_logs() as logs:
        notifier = desk.open(desk.config(slack))
        notifier.show(ON, JOB)
        arrived(slack, 1)
        notifier.show(OFF, JOB)
        arrived(slack, 2)
    assert "notifications_not_saved" in {line["event"] for line in logs}


def test_the_address_is_in_no_log_and_no_message(desk, capsys):
    """Row 53."""
    configure(LogConfig(level="debug"))
    try:
        echo = lambda request: Reply(request.path.encode(), 404)  # noqa: E731
        slack = desk.stub(echo)
        notifier = desk.open(desk.config(slack, state=True))
        notifier.show(ON, JOB)
        eventually(lambda: desk.count("failed") == 1)
        desk.open(desk.config("http://127.0.0.1:1" + HOOK)).show(ON, JOB)
        eventually(lambda: desk.count("failed") >= 2)
        desk.open(desk.config("ftp://canarycanary" + HOOK)).show(ON, JOB)
        eventually(lambda: desk.count("failed") >= 3)
        notifier.close(5.0)
    finally:
        structlog.reset_defaults()
    out = "".join(capsys.readouterr())
    assert "notification_not_sent" in out
    assert "CANARY" not in out.upper().replace("***", "")
    assert all("CANARY" not in file.read_text().upper() for file in desk.folder.iterdir())


def test_a_secret_that_cannot_be_read_is_said_and_tried_again(desk):
    slack = desk.stub()
    config = desk.config(slack)
    desk.monkeypatch.delenv("HOOK")
    desk.monkeypatch.setattr(receiver_module, "LONGEST_PAUSE", 0.2)
    with structlog.testing.capture_logs() as logs:
        desk.open(config).show(ON, JOB)
        eventually(lambda: desk.count("failed") == 1)
        desk.monkeypatch.setenv("HOOK", slack.url)
        arrived(slack, 1)
    assert "environment variable HOOK is not set" in next(
        x["error"] for x in logs if x["event"] == "notification_not_sent"
    )


def test_the_log_always_carries_it(desk):
    with structlog.testing.capture_logs() as logs:
        notifier = desk.open(desk.config())
        notifier.show(ON, JOB)
        eventually(lambda: desk.count("sent", "log") == 1)
        notifier.show(OFF, JOB)
        eventually(lambda: desk.count("sent", "log") == 2)
    told = [(line["log_level"], line["text"].split("\n")[0]) for line in logs if line["event"] == "notification"]
    assert told[0] == ("warning", "ANOMALY in cpu: instance=a")
    assert told[1][0] == "info"


def test_where_alertmanager_has_receivers_only_the_log_is_told(desk):
    slack = desk.stub()
    config = desk.config(slack).model_dump()
    alerting = {"receivers": {"us": {"webhook": {"url": "http://localhost:1"}}}, "routes": {"ticket": ["us"]}}
    config = type(desk.config(slack)).model_validate(
        {"jobs": {"cpu": {"expr": "up"}}, "notify": {"slack": {"env": "HOOK"}}, "alerting": alerting}
    )
    desk.open(config).show(ON, JOB)
    eventually(lambda: desk.count("sent", "log") == 1)
    arrived(slack, 0)


def test_a_webhook_gets_what_a_program_needs(desk):
    hook = desk.stub()
    desk.monkeypatch.setenv("OTHER", hook.url)
    notifier = desk.open(desk.config(webhook={"env": "OTHER"}))
    notifier.show(
        verdict(
            (key(svc="a\ud800"),), job="api", channels=("p99", "rps"), alert=[True], flag=[True],
            upper=[[9.0, np.inf]], contribution=[[0.25, 0.75]], since=[60.0],
        ),
        JOB,
    )  # fmt: skip
    eventually(lambda: hook.requests)
    got = json.loads(hook.requests[0].body)
    assert (got["version"], got["opened_count"], got["over_count"], got["over"], got["passed"]) == (1, 1, 0, [], {})
    [incident] = got["opened"]
    assert (incident["job"], incident["labels"], incident["since"]) == ("api", {"svc": "a\ud800"}, 60.0)
    assert [(each["name"], each["upper"], each["contribution"]) for each in incident["channels"]] == [
        ("rps", None, 0.75),
        ("p99", 9.0, 0.25),
    ]


def test_a_job_that_leaves_the_configuration_has_its_incidents_ended(desk):
    slack = desk.stub()
    notifier = desk.open(desk.config(slack))
    notifier.show(ON, JOB)
    arrived(slack, 1)
    notifier.prepare(desk.config(slack, jobs={"api": {"expr": "up"}})).commit()
    assert "its job has left the configuration" in arrived(slack, 2)[1]
    notifier.show(ON, JOB)  # a cycle that was under way
    arrived(slack, 2)


def test_closing_waits_for_nobody(desk):
    """Row 44."""
    released, answered = threading.Event(), threading.Event()

    def hang(request):
        answered.set() if released.wait(60) else None
        return Reply(b"ok")

    slack = desk.stub(hang)
    desk.monkeypatch.setattr("exporter.sinks.notify.http_post.DEADLINE", 60.0)
    notifier = desk.open(desk.config(slack))
    notifier.show(ON, JOB)
    eventually(lambda: slack.requests)
    notifier.close(0.2)
    assert desk.count("sent") == desk.count("failed") == 0, "the message under way was not waited for"
    released.set()
    assert answered.wait(60)

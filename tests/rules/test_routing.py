"""Who is told what, how often, on a real Alertmanager with receivers on this machine."""

import contextlib
import email
import email.policy
import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.servers import AlertmanagerServer, free_port
from exporter.config.load import load
from exporter.config.sections.alerting import RateLimitConfig, ReceiverConfig
from exporter.config.sections.root import Config
from rules.generate import generate
from tests.support.generated import tool, written
from tests.support.receivers import Inbox, Letters, tell
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers

EXAMPLE = Path(__file__).parents[2] / "examples" / "alerting.yml"
QUICK = {"group_wait": "0s", "rate_limit": {"count": 1000, "interval": "1000s"}}  # a message every two seconds


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as box:
        yield box


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    def write(text: str) -> dict[str, str]:
        path = tmp_path / f"secret-{len(list(tmp_path.glob('secret-*')))}"
        path.write_text(text)
        return {"file": str(path)}

    return write


def started(
    alertmanager: Callable[..., AlertmanagerServer], alerting: dict[str, Any], **jobs: Any
) -> AlertmanagerServer:
    config = Config.model_validate({"jobs": jobs or {"api": {"expr": "up"}}, "alerting": alerting})
    return alertmanager(generate(config)["alertmanager.yml"])


def labels(name: str = "AnomalyApi", receivers: str = "chat", **more: str) -> dict[str, str]:
    return {"alertname": name, "query": "api", "severity": "ticket", "receivers": receivers, **more}


def test_every_alert_of_the_example_reaches_those_it_names(tmp_path: Path) -> None:
    """The route test: the labels of every generated rule, through amtool."""
    config = load(EXAMPLE, None, {}).config
    written(tmp_path, config)
    for file in (tmp_path / "rules").iterdir():
        for rule in yaml.safe_load(file.read_text())["groups"][0]["rules"]:
            found = {"anomaly_incident": "1f2e3d4c5b"} if "anomaly_incident" in rule["labels"] else {}
            given_ = [f"{name}={value}" for name, value in (rule["labels"] | found).items()]
            command = ("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *given_)
            done = tool(tmp_path, *command, f"alertname={rule['alert']}")
            assert done.returncode == 0, done.stderr
            told = rule["labels"].get("receivers", "nobody")
            assert sorted(done.stdout.strip().split(",")) == sorted(told.split(",")), rule["alert"]
            if rule["alert"] == "AnomalyCheckout":
                assert told == "on-call,chat"


def test_slack_pagerduty_mail_and_webhook_are_told_the_beginning_and_the_end(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox, secret: Callable[[str], dict[str, str]]
) -> None:
    letters, port = Letters(), free_port()
    to = {
        "slack": {"webhook": secret(f"{inbox.url}/slack"), "channel": "#alerts"},
        "pagerduty": {"routing_key": secret("hunter2-key"), "url": f"{inbox.url}/pagerduty"},
        "webhook": {"url": f"{inbox.url}/webhook", "bearer": secret("hunter2-token")},
        "email": {
            "to": "a@example.com",
            "from": "b@example.com",
            "smarthost": f"127.0.0.1:{port}",
            "require_tls": False,
        },
    }
    alerting = {"receivers": {"all": {**to, **QUICK}}, "routes": {"ticket": ["all"]}}
    controller = Controller(letters, hostname="127.0.0.1", port=port, ready_timeout=PATIENCE)
    with contextlib.ExitStack() as stack:
        stack.callback(controller.stop)
        controller.start()
        server = started(alertmanager, alerting)
        assert "hunter2" not in str(server.config)
        one = labels(receivers="all", severity="page", pod="<!channel>")
        texts = {"summary": "Anomaly in api pod=<!channel>", "description": "observed 5", "graph_url": "http://p/graph"}
        tell(server, one, **texts)
        eventually(lambda: len(inbox.posts) == 3 and len(letters.received) == 1)
        [slack], [pagerduty], [webhook] = inbox.to("/slack"), inbox.to("/pagerduty"), inbox.to("/webhook")
        [message] = slack.body["attachments"]
        assert slack.body["channel"] == "#alerts"
        assert message["title"] == "[FIRING:1] AnomalyApi: Anomaly in api pod=&lt;!channel&gt;"
        assert message["text"].splitlines()[1:] == ["observed 5", "<http://p/graph|graph> "]
        assert message["color"] == "danger"
        assert pagerduty.body["routing_key"] == "hunter2-key"
        assert pagerduty.body["event_action"] == "trigger"
        assert pagerduty.body["payload"]["severity"] == "critical"
        assert pagerduty.body["payload"]["summary"] == "[FIRING:1] AnomalyApi: Anomaly in api pod=<!channel>"
        assert pagerduty.body["links"] == [{"href": "http://p/graph", "text": "graph"}]
        assert "observed 5" in pagerduty.body["payload"]["custom_details"]["firing"]
        assert webhook.authorization == "Bearer hunter2-token"
        assert [alert["labels"] for alert in webhook.body["alerts"]] == [one]
        letter = email.message_from_bytes(letters.received[0].content, policy=email.policy.default)
        assert letter["Subject"] == "[FIRING:1] AnomalyApi: Anomaly in api pod=<!channel>"
        assert "observed 5\ngraph: http://p/graph" in letter.get_body(("plain",)).get_content().replace("\r\n", "\n")
        tell(server, one, over=True, **texts)
        eventually(lambda: len(inbox.posts) == 6 and len(letters.received) == 2)
    assert inbox.to("/slack")[1].body["attachments"][0]["title"].startswith("[RESOLVED:1] AnomalyApi")
    assert inbox.to("/pagerduty")[1].body["event_action"] == "resolve"
    assert inbox.to("/pagerduty")[1].body["dedup_key"] == pagerduty.body["dedup_key"]
    assert inbox.to("/webhook")[1].body["status"] == "resolved"
    assert b"[RESOLVED:1]" in letters.received[1].content


def test_a_severity_that_pagerduty_is_not_told_of_is_an_error_and_the_worst_counts(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox, secret: Callable[[str], dict[str, str]]
) -> None:
    to = {"pagerduty": {"routing_key": secret("k"), "url": f"{inbox.url}/pagerduty"}, "group_by": ["query"], **QUICK}
    server = started(alertmanager, {"receivers": {"chat": to}, "routes": {"ticket": ["chat"]}})
    tell(server, labels(query="a", severity="sev2"))
    tell(server, labels(query="b", severity="ticket"), labels(query="b", severity="page"))
    tell(server, labels(query="c"))

    def newest() -> list[tuple[str, str]]:
        """Alertmanager may send the first of two alerts alone, and both in the message after it."""
        told = {post.body["dedup_key"]: post.body["payload"] for post in inbox.posts}
        return sorted((one["custom_details"]["num_firing"], one["severity"]) for one in told.values())

    eventually(lambda: newest() == [("1", "error"), ("1", "warning"), ("2", "critical")])


def test_pagerduty_gets_an_incident_for_each_job_so_that_none_hides_in_an_acknowledged_one(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox, secret: Callable[[str], dict[str, str]]
) -> None:
    to = {"pagerduty": {"routing_key": secret("k"), "url": f"{inbox.url}/pagerduty"}, **QUICK}
    server = started(alertmanager, {"receivers": {"chat": to}, "routes": {"ticket": ["chat"]}})
    tell(server, labels(query="a"), labels(query="b"))
    eventually(lambda: len({post.body["dedup_key"] for post in inbox.posts}) == 2)


def test_ten_thousand_entities_at_once_are_one_short_message(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox, secret: Callable[[str], dict[str, str]]
) -> None:
    """Row 48: at most 20 notices; here 3 in 10 minutes by default, and none that Slack would refuse for its length."""
    to = {
        "slack": {"webhook": secret(f"{inbox.url}/slack"), "channel": "#alerts"},
        "webhook": {"url": f"{inbox.url}/webhook"},
        "group_wait": "10s",  # on a busy machine too all of them are there by then
    }
    server = started(alertmanager, {"receivers": {"chat": to}, "routes": {"ticket": ["chat"]}})
    for begin in range(0, 10_000, 1000):
        tell(server, *(labels(pod=f"p{n}") for n in range(begin, begin + 1000)), description="d" * 500)
    eventually(lambda: len(inbox.posts) >= 2)
    time.sleep(3)
    [slack], [webhook] = inbox.to("/slack"), inbox.to("/webhook")
    [message] = slack.body["attachments"]
    assert message["title"].endswith("AnomalyApi")
    assert len(message["text"]) < 10_000
    told = len(webhook.body["alerts"]) + webhook.body["truncatedAlerts"]
    assert message["text"].endswith(f"and {told - 10} more that fire\n")
    assert message["text"].count("S, since ") == 10
    assert len(webhook.body["alerts"]) == 100
    assert webhook.body["truncatedAlerts"] >= 900


def test_a_broken_rack_is_one_message_and_another_rack_is_not_muted(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox
) -> None:
    """50 entities failing together give one roll-up; members come in the same moment, as from one evaluation."""
    to = {"webhook": {"url": f"{inbox.url}/webhook"}, **QUICK, "group_wait": "1s"}
    alerting = {"receivers": {"chat": to}, "routes": {"ticket": ["chat"]}}
    server = started(alertmanager, alerting, api={"expr": "up", "group": ["rack"]})
    storm = labels("AnomalyStorm", rack="r1")
    members = [labels(rack="r1", node=f"n{n}") for n in range(50)]
    tell(server, *members, storm, labels(rack="r2", node="x"))
    eventually(lambda: inbox.posts)
    time.sleep(3)
    [post] = inbox.posts
    found = [(alert["labels"]["alertname"], alert["labels"]["rack"]) for alert in post.body["alerts"]]
    assert sorted(found) == [("AnomalyApi", "r2"), ("AnomalyStorm", "r1")]
    tell(server, *members, over=True)
    tell(server, storm, over=True)
    eventually(lambda: len(inbox.posts) == 2)
    time.sleep(3)
    [_, end] = inbox.posts
    assert "AnomalyStorm" in {
        alert["labels"]["alertname"] for alert in end.body["alerts"] if alert["status"] == "resolved"
    }


def test_a_dead_exporter_is_one_message_and_mutes_no_anomaly(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox
) -> None:
    """Row 45."""
    to = {"webhook": {"url": f"{inbox.url}/webhook"}, **QUICK, "group_wait": "1s"}
    server = started(alertmanager, {"receivers": {"chat": to}, "routes": {"ticket": ["chat"]}})
    stale = [labels("AnomalyScoresStale", query=f"q{n}") for n in range(20)]
    tell(server, labels("AnomalyExporterDown"), *stale, labels("AnomalySeriesVanished"), labels())
    eventually(lambda: inbox.posts)
    names = sorted(alert["labels"]["alertname"] for alert in inbox.posts[0].body["alerts"])
    assert names == ["AnomalyApi", "AnomalyExporterDown"]


def test_a_receiver_is_left_alone_at_its_times_and_the_others_are_not(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox
) -> None:
    receivers = {name: {"webhook": {"url": f"{inbox.url}/{name}"}, **QUICK} for name in ("chat", "asleep")}
    receivers["asleep"]["mute"] = ["always"]
    alerting = {
        "receivers": receivers,
        "routes": {"ticket": ["chat", "asleep"]},
        "time_intervals": {"always": {"times": ["00:00-12:00", "12:00-00:00"], "location": "Europe/Berlin"}},
    }
    server = started(alertmanager, alerting)
    tell(server, labels(receivers="chat,asleep"))
    eventually(lambda: inbox.to("/chat"))
    time.sleep(2)
    assert not inbox.to("/asleep")


def test_the_watchdog_is_heard_again_and_again_by_its_receiver_alone(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox
) -> None:
    receivers = {name: {"webhook": {"url": f"{inbox.url}/{name}"}, **QUICK} for name in ("chat", "switch")}
    server = started(alertmanager, {"receivers": receivers, "routes": {"ticket": ["chat"]}, "watchdog": "switch"})
    tell(server, {"alertname": "Watchdog", "severity": "none", "receivers": "switch"}, labels())
    eventually(lambda: inbox.to("/chat") and inbox.to("/switch"))
    assert [alert["labels"]["alertname"] for alert in inbox.to("/switch")[0].body["alerts"]] == ["Watchdog"]
    made = yaml.safe_load(server.config)
    assert made["route"]["routes"][0]["repeat_interval"] == "5m"


def test_a_restarted_alertmanager_tells_nothing_twice(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox
) -> None:
    to = {"webhook": {"url": f"{inbox.url}/webhook"}, **QUICK}
    server = started(alertmanager, {"receivers": {"chat": to}, "routes": {"ticket": ["chat"]}})
    tell(server, labels())
    eventually(lambda: inbox.posts)
    time.sleep(3)  # what was sent in the very moment of the stop is not yet written down, and may come twice
    server.restart()
    tell(server, labels())
    time.sleep(4)
    assert len(inbox.posts) == 1


@pytest.mark.slow
def test_no_receiver_is_told_more_often_than_it_wants(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox
) -> None:
    """Alerts of ten jobs come and go for 45 s, past the half minute after which Alertmanager forgets an empty group."""
    most, window = 3, 8.0
    to = {
        "webhook": {"url": f"{inbox.url}/chat"},
        "rate_limit": {"count": most, "interval": f"{window:g}s"},
        "group_wait": "500ms",
    }
    server = started(alertmanager, {"receivers": {"chat": to}, "routes": {"ticket": ["chat"]}})
    chance, begin = random.Random(7), time.monotonic()
    while (now := time.monotonic() - begin) < 45:
        one = labels(query=f"q{chance.randrange(10)}")
        if 18 < now < 32:  # all over: the group is told so, is then empty, and is forgotten
            tell(server, *(labels(query=f"q{n}") for n in range(10)), over=True)
        else:
            tell(server, one, over=chance.random() < 0.5)
        time.sleep(0.3)
    times = [post.at for post in inbox.posts]
    assert len(times) >= 4, "something was told"
    late = 3.0  # what a busy machine may add to the way of one message and not to that of another
    busiest = max(sum(first <= at < first + window - late for at in times) for first in times)
    assert busiest <= most, [round(at - times[0], 1) for at in times]


@given(most=st.integers(2, 40), window=st.floats(1, 86_400))
def test_the_interval_keeps_to_the_limit_even_when_groups_begin_anew(most: int, window: float) -> None:
    """The densest row of notices: end, anew at once, end after group_interval, anew at once, …"""
    notices = RateLimitConfig.model_construct(count=most, interval=window)
    receiver = ReceiverConfig.model_construct(rate_limit=notices, group_interval=None)
    gaps = itertools.islice(itertools.cycle([0.0, receiver.interval]), most)
    assert sum(gaps) >= window


def test_alerts_of_one_joint_incident_are_one_message_whatever_their_jobs_and_another_is_another(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox, secret: Callable[[str], dict[str, str]]
) -> None:
    to = {
        "pagerduty": {"routing_key": secret("k"), "url": f"{inbox.url}/pagerduty"},
        "webhook": {"url": f"{inbox.url}/webhook"}, **QUICK, "group_wait": "2s",
    }  # fmt: skip
    server = started(alertmanager, {"receivers": {"chat": to}, "routes": {"ticket": ["chat"]}})
    one = [labels(query=job, node=f"n{n}", anomaly_incident="1f") for job in "ab" for n in range(20)]
    tell(server, *one, labels(query="a", node="x", anomaly_incident="2e"), labels("AnomalyJobFailing", query="a"))
    eventually(lambda: len(inbox.posts) == 6)
    told = sorted(
        (len(post.body["alerts"]), post.body["groupLabels"].get("anomaly_incident", ""))
        for post in inbox.to("/webhook")
    )
    assert told == [(1, ""), (1, "2e"), (40, "1f")]
    assert len({post.body["dedup_key"] for post in inbox.to("/pagerduty")}) == 3

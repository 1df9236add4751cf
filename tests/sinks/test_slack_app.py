"""One message in Slack for each incident, edited as it goes on and ends, with a picture."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import structlog

from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.config.sections.service import LogConfig
from exporter.observe.logs import configure
from exporter.pipeline.worst_readings import Readings
from exporter.sinks.notify import edited, http_post, pictures
from exporter.sinks.notify.pages import OurPages
from tests.sinks.conftest import PAGES, PNG, Desk
from tests.sinks.test_delivery import judged
from tests.sinks.test_receiver import many
from tests.support.slack import CHANNEL, TOKEN, Slack, workspace
from tests.support.stub import Reply
from tests.support.verdicts import key
from tests.support.waiting import eventually

JOB = JobConfig(expr="up")
ON, OFF = judged([True, False]), judged([False, False], [0.2, 0.2], at=30)
_ONE, _SHOWN = np.ones(1), np.full((1, 1), 2.0)
WORSE = replace(
    judged([True, False], [8.0, 0.2], at=5),
    readings=Readings(
        np.array([0]), 1.5 * _ONE, np.nan * _ONE, 300 * _ONE, 8 * _ONE, np.array([0], np.int8), *[_SHOWN] * 5
    ),
)
"""Its incident began at 1.5 s, as that of ON, and has its worst reading after five minutes."""


@pytest.fixture
def slack(desk, monkeypatch):
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setattr(pictures, "USABLE_AFTER", (0.02, 0.02, 0.02))
    monkeypatch.setattr(edited, "EDIT_EVERY", 0.05)
    with workspace() as found:
        yield found


def app(desk: Desk, slack: Slack | str, pages: OurPages = PAGES, **notify):
    """Return a notifier that has a Slack app."""
    url = slack if isinstance(slack, str) else slack.url
    to = {"token": {"env": "TOKEN"}, "channel": CHANNEL, "url": url} | notify.pop("app", {})
    return desk.open(desk.config(slack_app=to, link=None, **notify), pages)


def settled(slack: Slack) -> int:
    """Wait for a moment in which nothing is asked any more; return how many calls there were."""
    threading.Event().wait(0.3)
    return len(slack.calls)


def test_one_message_is_edited_as_its_incident_goes_on_and_ends(desk, slack):
    notifier = app(desk, slack)
    notifier.show(ON, JOB)
    eventually(lambda: slack.messages)
    assert slack.text().startswith("🔴 ANOMALY in cpu: instance=a\nworst at")
    assert "score 2 " in slack.text()
    notifier.show(WORSE, JOB)
    eventually(lambda: "score 8 " in slack.text())
    notifier.show(OFF, JOB)
    eventually(lambda: slack.text().startswith("🟢 OVER in cpu: instance=a: back to normal\n"))
    assert "score 8 " in slack.text()
    assert slack.text().endswith("from 00:00 to 00:30 UTC (29 min)")
    assert slack.pushed == 1
    assert eventually(lambda: desk.pending("slack_app") == 0)
    assert [each.what for each in notifier.sent.of("cpu", key(instance="a"), 1.5)] == ["beginning", "change", "end"]
    state = notifier._receivers["slack_app"]._state
    eventually(lambda: not state.posts)
    assert state.size == 0


def test_numbers_have_the_unit_of_the_job(desk, slack):
    app(desk, slack).show(ON, JobConfig(expr="up", unit="seconds"))
    eventually(lambda: slack.messages)
    assert "observed 1.5 s, expected 1.5 s" in slack.text()


def test_a_message_leads_to_the_page_of_its_incident(desk, slack):
    app(desk, slack).show(ON, JOB)
    eventually(lambda: slack.messages)
    told = slack.only()["blocks"][-1]["elements"][0]["text"]
    assert told == "<http://me:9877/series?job=cpu&amp;since=2|the incident>"


def test_the_picture_follows_the_message_once_slack_can_show_it(desk, slack):
    slack.slow_files = 1
    app(desk, slack).show(ON, JOB)
    eventually(lambda: slack.messages)
    eventually(lambda: any(block["type"] == "image" for block in slack.only()["blocks"]))
    assert list(slack.files.values()) == [PNG]
    assert slack.calls[0] == "chat.postMessage", "the text does not wait for it"
    assert slack.pushed == 1


def test_a_picture_that_slack_never_shows_is_given_up_and_the_message_stays(desk, slack):
    slack.slow_files = 99
    with structlog.testing.capture_logs() as logs:
        notifier = app(desk, slack)
        notifier.show(ON, JOB)
        eventually(lambda: any(line["event"] == "picture_not_sent" for line in logs))
    notifier.show(OFF, JOB)
    eventually(lambda: "OVER" in slack.text())
    assert slack.pushed == 1


def test_a_picture_that_somebody_has_deleted_does_not_hold_up_the_end(desk, slack):
    notifier = app(desk, slack)
    notifier.show(ON, JOB)
    eventually(lambda: slack.files and any(block["type"] == "image" for block in slack.only()["blocks"]))
    settled(slack)
    slack.files.clear()
    notifier.show(OFF, JOB)
    eventually(lambda: "OVER" in slack.text())
    assert slack.pushed == 1


def test_beside_alertmanager_both_tell_where_that_is_wanted(desk, slack):
    alerting = {"receivers": {"us": {"webhook": {"url": "http://localhost:1"}}}, "routes": {"ticket": ["us"]}}
    to = {"token": {"env": "TOKEN"}, "channel": CHANNEL, "url": slack.url}
    for beside, told in ((False, 0), (True, 1)):
        config = Config.model_validate({
            "jobs": {"cpu": {"expr": "up"}}, "alerting": alerting,
            "notify": {"slack_app": to, "beside_alertmanager": beside},
        })  # fmt: skip
        with structlog.testing.capture_logs() as logs:
            desk.open(config, PAGES).show(ON, JOB)
            eventually(lambda logs=logs: any(line["event"] == "notification" for line in logs))
        settled(slack)
        assert slack.pushed == told


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
def test_an_app_that_may_not_upload_still_tells(desk, slack, method):
    slack.faults[method] = ["missing_scope"]
    with structlog.testing.capture_logs() as logs:
        notifier = app(desk, slack)
        notifier.show(ON, JOB)
        eventually(lambda: any(line["event"] == "picture_not_sent" for line in logs))
        notifier.show(OFF, JOB)
        eventually(lambda: "OVER" in slack.text())
    [line] = [line for line in logs if line["event"] == "picture_not_sent"]
    assert "give the app the scopes chat:write and files:write" in line["error"]
    assert slack.calls.count("files.getUploadURLExternal") == 1
    assert slack.pushed == 1


def test_a_restart_in_the_middle_edits_the_same_message_on(desk, slack):
    """Rows 24 and 44: also when nobody said goodbye."""
    app(desk, slack).show(ON, JOB)
    eventually(lambda: slack.messages)
    file = desk.folder / "notifications-slack_app.json"
    eventually(lambda: file.exists() and '"ts"' in file.read_text())
    again = app(desk, slack)
    again.show(WORSE, JOB)
    eventually(lambda: "score 8 " in slack.text())
    again.close(5.0)
    after = app(desk, slack)
    assert [each.what for each in after.sent.of("cpu", key(instance="a"), 1.5)] == ["beginning"]
    after.show(OFF, JOB)
    eventually(lambda: "OVER" in slack.text())
    settled(slack)
    assert slack.pushed == 1


def test_an_end_that_came_while_slack_was_away_is_told_in_the_same_message(desk, slack):
    notifier = app(desk, slack)
    notifier.show(ON, JOB)
    eventually(lambda: slack.messages)
    slack.faults["chat.update"] = [Reply(status=503), Reply(b"upstream", 502), "internal_error"]
    notifier.show(OFF, JOB)
    eventually(lambda: "OVER" in slack.text())
    assert slack.pushed == 1
    assert desk.count("failed", "slack_app") == 3


def test_the_pause_that_slack_asks_for_is_kept(desk, slack):
    """Row 9."""
    limited = Reply(b'{"ok":false,"error":"ratelimited"}', 429, {"Retry-After": "1"})
    slack.faults["chat.postMessage"] = [limited]
    app(desk, slack, app={"pictures": False}).show(ON, JOB)
    eventually(lambda: slack.messages)
    first, second = [request.at for request in slack.stub.requests if request.path.endswith("chat.postMessage")]
    assert second - first >= 1
    assert slack.pushed == 1


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("invalid_auth", "is the token of notify.slack_app still valid?"),
        ("token_revoked", "install the app again and change the token"),
        ("channel_not_found", "The app must be invited to a private channel"),
        ("is_archived", "name another in notify.slack_app.channel"),
        ("missing_scope", "chat:write and files:write"),
        ("something_new", "Slack refuses chat.postMessage: something_new"),
    ],
)
def test_a_refusal_is_said_once_with_what_to_do_and_tried_again(desk, slack, error, advice, monkeypatch):
    monkeypatch.setattr("exporter.sinks.notify.receiver.LONGEST_PAUSE", 0.1)
    slack.faults["chat.postMessage"] = [error, error, error]
    with structlog.testing.capture_logs() as logs:
        app(desk, slack).show(ON, JOB)
        eventually(lambda: slack.messages)
    [line] = [line for line in logs if line["event"] == "notification_not_sent"]
    assert advice in line["error"]
    assert slack.calls.count("chat.postMessage") == 4
    assert slack.pushed == 1


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message", "edit_window_closed", "is_archived"])
def test_a_message_that_cannot_be_edited_is_given_up_and_the_end_is_told_by_another(desk, slack, error):
    with structlog.testing.capture_logs() as logs:
        notifier = app(desk, slack, app={"pictures": False})
        notifier.show(ON, JOB)
        eventually(lambda: slack.messages)
        slack.faults["chat.update"] = [error]
        notifier.show(WORSE, JOB)
        eventually(lambda: any(line["event"] == "message_gone" for line in logs))
        settled(slack)
        assert slack.pushed == 1, "it is not posted again while it goes on"
        notifier.show(OFF, JOB)
        eventually(lambda: slack.pushed == 2)
    assert list(slack.messages.values())[1]["text"].startswith("OVER in cpu: instance=a: back to normal\n")


def test_a_message_that_slack_refuses_for_reasons_of_its_own_holds_up_no_other(desk, slack, monkeypatch):
    monkeypatch.setattr(edited, "PUT_OFF", 0.2)
    notifier = app(desk, slack, app={"pictures": False})
    notifier.show(ON, JOB)
    eventually(lambda: slack.messages)
    slack.faults["chat.update"] = ["something_new"] * 5
    notifier.show(WORSE, JOB)
    eventually(lambda: slack.calls.count("chat.update") >= 1)
    notifier.show(many(1, job="api"), JOB)
    eventually(lambda: slack.pushed == 2)
    eventually(lambda: slack.calls.count("chat.update") == 5)
    notifier.show(OFF, JOB)
    eventually(lambda: slack.pushed == 3)
    assert list(slack.messages.values())[2]["text"].startswith("OVER in cpu: instance=a: back to normal\n")


def test_more_at_once_than_the_rate_limit_lets_through_share_one_message(desk, slack):
    notifier = app(desk, slack)
    notifier.show(many(12), JOB)
    eventually(lambda: slack.messages)
    assert slack.text().startswith("🔴 ANOMALY in cpu: 12 of 12 entities, since ")
    notifier.show(replace(many(12, on=False, at=20)), JOB)
    eventually(lambda: slack.text().startswith("🟢 OVER in cpu: 12 incidents back to normal"))
    assert slack.pushed == 1


def test_two_at_once_have_a_message_each(desk, slack):
    app(desk, slack).show(many(2), JOB)
    eventually(lambda: slack.pushed == 2)
    assert sorted(each["text"].splitlines()[0] for each in slack.messages.values()) == [
        "ANOMALY in cpu: i=0", "ANOMALY in cpu: i=1",
    ]  # fmt: skip


def test_the_end_changes_the_message_also_where_nobody_wants_to_be_notified_of_it(desk, slack):
    notifier = app(desk, slack, resolved=False)
    notifier.show(ON, JOB)
    eventually(lambda: slack.messages)
    notifier.show(OFF, JOB)
    eventually(lambda: "OVER" in slack.text())
    assert slack.pushed == 1


def test_no_label_calls_everybody_or_becomes_a_link(desk, slack):
    keys = ((("pod", "<!channel> <http://evil|x> *b* :smile:"),),)
    app(desk, slack).show(judged([True], keys=keys), JOB)
    eventually(lambda: slack.messages)
    message = slack.only()
    assert message["text"].splitlines()[0].endswith("pod=&lt;!channel&gt; &lt;http://evil|x&gt; *b* :smile:")
    assert message["blocks"][0]["text"]["type"] == "plain_text"
    assert message["blocks"][0]["text"]["emoji"] is False


def test_slack_that_is_away_or_hangs_costs_nobody_else_anything(desk, slack, monkeypatch):
    monkeypatch.setattr(http_post, "DEADLINE", 0.3)
    webhook = desk.stub()
    desk.monkeypatch.setenv("OTHER", webhook.url)
    slack.faults["chat.postMessage"] = [Reply(delay=60)]
    notifier = app(desk, slack, webhook={"env": "OTHER"})
    notifier.show(ON, JOB)
    eventually(lambda: len(webhook.requests) == 1)
    eventually(lambda: desk.count("failed", "slack_app") >= 1)
    eventually(lambda: slack.messages)


@pytest.mark.parametrize("answer", [b"<html>login</html>", b"[]", b'{"ok":true}', b""])
def test_what_is_not_slack_is_said(desk, slack, answer):
    slack.faults["chat.postMessage"] = [Reply(answer)] * 3
    with structlog.testing.capture_logs() as logs:
        app(desk, slack).show(ON, JOB)
        eventually(lambda: any(line["event"] == "notification_not_sent" for line in logs))
    [line] = [line for line in logs if line["event"] == "notification_not_sent"]
    assert "slack" in line["error"].lower()


def test_the_token_is_in_no_log_and_no_file(desk, slack, capsys):
    """Row 53."""
    configure(LogConfig(level="debug"))
    desk.stack.callback(structlog.reset_defaults)
    slack.faults["chat.postMessage"] = [Reply(f"who is {TOKEN}".encode(), 500)]
    notifier = app(desk, slack)
    notifier.show(ON, JOB)
    eventually(lambda: slack.messages)
    desk.monkeypatch.setenv("TOKEN", "two words")
    notifier.show(OFF, JOB)
    eventually(lambda: desk.count("failed", "slack_app") == 2)
    assert "canary" not in "".join(capsys.readouterr()).replace("***", "")
    assert all("canary" not in file.read_text() for file in desk.folder.iterdir())


@pytest.mark.parametrize("shown", [True, False])
def test_pictures_are_got_ready_at_the_start_where_messages_have_any(desk, slack, shown):
    got_ready = []
    app(desk, slack, replace(PAGES, warm_up=lambda: got_ready.append(True)), app={"pictures": shown})
    assert got_ready == [True] * shown

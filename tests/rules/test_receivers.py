"""The receivers of today: in a real Alertmanager where Debian's knows them, else by the keys of its documentation."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from deploy.demo.servers import AlertmanagerServer
from exporter.config.sections.alerting import ReceiverConfig
from exporter.config.sections.root import Config
from rules.generate import generate
from tests.support.generated import tool
from tests.support.receivers import Inbox, tell
from tests.support.waiting import eventually

SECRET = {"file": "/secrets/one"}
EVERY: dict[str, dict[str, Any]] = {
    "slack": {"app_token": SECRET, "channel": "C0123"},
    "webhook": {"url_file": SECRET, "payload": {"text": "{{ .CommonLabels.alertname }}"}},
    "opsgenie": {"api_key": SECRET, "url": "https://api.eu.opsgenie.com"},
    "msteamsv2": {"webhook": SECRET},
    "discord": {"webhook": SECRET},
    "telegram": {"bot_token": SECRET, "chat": -1001, "thread": 7},
}
DOCUMENTED = {
    "slack": {"app_token_file", "channel", "send_resolved", "color", "title", "title_link", "text", "fallback"},
    "webhook": {"url_file", "send_resolved", "max_alerts", "payload"},
    "opsgenie": {"api_key_file", "api_url", "send_resolved", "message", "description", "source", "priority"},
    "msteamsv2": {"webhook_url_file", "send_resolved", "title", "text"},
    "discord": {"webhook_url_file", "send_resolved", "title", "message"},
    "telegram": {"bot_token_file", "chat_id", "message_thread_id", "send_resolved", "parse_mode", "message"},
}


def generated(**ways: Any) -> dict[str, Any]:
    alerting = {"receivers": {"all": {**ways, "group_wait": "0s", "rate_limit": {"count": 1000, "interval": "1000s"}}}}
    made = Config.model_validate(
        {"jobs": {"api": {"expr": "up"}}, "alerting": {**alerting, "routes": {"ticket": ["all"]}}}
    )
    return yaml.safe_load(generate(made)["alertmanager.yml"])


def entry(of: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in of["receivers"] if each["name"] == "all")[f"{kind}_configs"][0]


def inline(of: dict[str, Any], kind: str, old: str, new: str, value: str) -> None:
    """Put a secret in place, for an Alertmanager that reads none from a file."""
    found = entry(of, kind)
    del found[old]
    found[new] = value


@pytest.mark.parametrize("kind", EVERY)
def test_the_entry_of_a_receiver_has_the_keys_that_alertmanager_documents(kind: str) -> None:
    made = entry(generated(**{kind: EVERY[kind]}), kind)
    assert set(made) == DOCUMENTED[kind]
    assert "/secrets/one" in made.values()


@pytest.mark.servers
def test_amtool_takes_what_it_knows(tmp_path: Path) -> None:
    known = {kind: EVERY[kind] for kind in ("opsgenie", "discord", "telegram")}
    made = generated(**known)
    inline(made, "discord", "webhook_url_file", "webhook_url", "http://discord.test/x")
    inline(made, "telegram", "bot_token_file", "bot_token", "hunter2")
    del entry(made, "telegram")["message_thread_id"]
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(made))
    done = tool(tmp_path, "amtool", "check-config", "alertmanager.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as box:
        yield box


@pytest.mark.servers
def test_opsgenie_and_discord_are_told_the_beginning(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("hunter2")
    made = generated(
        opsgenie={"api_key": {"file": str(tmp_path / "key")}, "url": inbox.url},
        discord={"webhook": SECRET},
    )
    inline(made, "discord", "webhook_url_file", "webhook_url", f"{inbox.url}/discord")
    server = alertmanager(yaml.safe_dump(made))
    one = {"alertname": "AnomalyApi", "query": "api", "severity": "page", "receivers": "all", "pod": "a"}
    tell(server, one, summary="Anomaly in api pod=a", description="observed 5", graph_url="http://p/graph")
    eventually(lambda: len(inbox.posts) >= 2)
    [opsgenie] = inbox.to("/v2/alerts")
    assert opsgenie.authorization == "GenieKey hunter2"
    assert opsgenie.body["message"] == "[FIRING:1] AnomalyApi: Anomaly in api pod=a"
    assert (opsgenie.body["priority"], opsgenie.body["source"]) == ("P1", "anomaly-exporter")
    assert "observed 5\ngraph http://p/graph" in opsgenie.body["description"]
    [discord] = inbox.to("/discord")
    [card] = discord.body["embeds"]
    assert card["title"] == "[FIRING:1] AnomalyApi: Anomaly in api pod=a"
    assert "[graph](http://p/graph)" in card["description"]


@pytest.mark.servers
def test_a_link_to_the_dashboard_shows_the_time_of_the_alert(
    alertmanager: Callable[..., AlertmanagerServer], inbox: Inbox
) -> None:
    made = generated(discord={"webhook": SECRET}, group_interval="2s")
    inline(made, "discord", "webhook_url_file", "webhook_url", f"{inbox.url}/discord")
    server = alertmanager(yaml.safe_dump(made))
    one = {"alertname": "AnomalyApi", "query": "api", "severity": "page", "receivers": "all", "pod": "a"}

    def tell_all(over: bool) -> None:
        tell(server, one, over=over, dashboard_url="http://g/d/anomalies?var-query=api")

    def ranges() -> list[dict[str, list[str]]]:
        cards = [card["description"] for post in inbox.to("/discord") for card in post.body["embeds"]]
        links = [link for card in cards for link in re.findall(r"\[dashboard\]\(([^)]+)\)", card)]
        return [parse_qs(urlsplit(link).query) for link in links]

    began = time.time()
    tell_all(over=False)
    eventually(lambda: len(ranges()) == 1)
    [open_] = ranges()
    assert open_["var-query"] == ["api"]
    assert began - 3610 < int(open_["from"][0]) / 1000 < time.time() - 3590
    assert "to" not in open_, "until now"
    tell_all(over=True)
    eventually(lambda: len(ranges()) == 2)
    over = ranges()[1]
    assert began + 3590 < int(over["to"][0]) / 1000 < time.time() + 3610
    assert int(over["to"][0]) - int(over["from"][0]) >= 7_000_000


@pytest.mark.parametrize(
    ("kind", "section", "message"),
    [
        ("slack", {"channel": "#a"}, "give exactly one of webhook or app_token"),
        (
            "slack",
            {"channel": "#a", "webhook": SECRET, "app_token": SECRET},
            "give exactly one of webhook or app_token",
        ),
        ("webhook", {}, "give exactly one of url or url_file"),
        ("telegram", {"bot_token": SECRET, "chat": "@name"}, "chat"),
        ("discord", {"webhook": {"env": "X"}}, "Alertmanager reads this secret itself"),
        ("opsgenie", {"api_key": SECRET, "priorities": {"page": "P9"}}, "P9"),
    ],
)
def test_what_cannot_be_sent_is_refused(kind: str, section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message if message != "P9" else "priorities"):
        ReceiverConfig.model_validate({kind: section})

"""From a fault in a real Prometheus to a message, and to the feed, without Alertmanager."""

import html
import json
import re

import pytest
import requests

from tests.e2e.test_end_to_end import QUICK, config, history, watching
from tests.sinks.conftest import HOOK, arrived
from tests.support.slack import CHANNEL, TOKEN, workspace
from tests.support.stub import Reply, serve
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers


def feed(server, **parameters):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{server.url}/api/v1/anomalies", params=parameters, timeout=PATIENCE).json()


def test_one_message_one_end_and_a_kill_between_them_repeats_nothing(prometheus, exporter, target, tmp_path):
    """Rows 24 and 45: kill -9 while an incident is open."""
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    with serve(Reply(b"ok")) as slack:
        (tmp_path / "hook").write_text(slack.url + HOOK)
        settings = config(
            source,
            {"level": {"expr": "level", "alert": {"metric": "flag"}, **QUICK, "clear_after": "4s"}},
            notify={"slack": {"file": str(tmp_path / "hook")}},
            state={"path": str(tmp_path / "state"), "every": "1s"},
        )
        first = exporter(settings)
        eventually(lambda: feed(first, match='name="b"', flag="false")["total"] == 1)
        target.series["b"] = 100.0
        [opened] = arrived(slack, 1, within=PATIENCE)
        assert opened.startswith("ANOMALY in level: instance=target, job=target, name=b\n")
        assert "expected 10." in opened
        [link] = re.findall(r"http://\S+:[0-9]+/(series\?job=level&amp;\S+)$", opened)
        page = requests.get(f"{first.url}/{html.unescape(link)}", timeout=PATIENCE, proxies={"http": ""})
        assert "Incident of job <b>level</b>" in page.text
        [found] = feed(first, flag="true")["anomalies"]
        assert (found["labels"]["name"], found["channels"][0]["expr"]) == ("b", "level")
        assert found["channels"][0]["observed"] > found["channels"][0]["upper"]
        first.kill()
        first.start()
        eventually(lambda: feed(first, flag="true")["total"] == 1)
        arrived(slack, 1, within=PATIENCE)
        target.series["b"] = 10.0
        assert (
            "OVER in level: instance=target, job=target, name=b: back to normal"
            in arrived(slack, 2, within=PATIENCE)[1]
        )
        assert all(HOOK not in file.read_text(errors="replace") for file in tmp_path.glob("exporter-*/*.log"))


def test_one_message_of_an_app_with_a_picture_is_edited_on_after_a_kill(prometheus, exporter, target, tmp_path):
    """Rows 24 and 44."""
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    (tmp_path / "token").write_text(TOKEN)
    with workspace() as slack:
        settings = config(
            source,
            {"level": {"expr": "level", "unit": "seconds", "alert": {"metric": "flag"}, **QUICK, "clear_after": "4s"}},
            notify={"slack_app": {"token": {"file": str(tmp_path / "token")}, "channel": CHANNEL, "url": slack.url}},
            state={"path": str(tmp_path / "state"), "every": "1s"},
        )
        first = exporter(settings)
        eventually(lambda: feed(first, match='name="b"', flag="false")["total"] == 1)
        target.series["b"] = 100.0
        eventually(lambda: slack.messages)
        eventually(lambda: any(block["type"] == "image" for block in slack.only()["blocks"]))
        assert "expected 10." in slack.text()
        assert next(iter(slack.files.values())).startswith(b"\x89PNG")
        first.kill()
        first.start()
        eventually(lambda: feed(first, flag="true")["total"] == 1)
        target.series["b"] = 10.0
        eventually(lambda: slack.text().startswith("🟢 OVER in level: instance=target, job=target, name=b: back to"))
        assert slack.pushed == 1
        assert all(TOKEN not in file.read_text(errors="replace") for file in tmp_path.glob("exporter-*/*.log"))


def test_the_original_flat_file_posts_to_its_webhook(prometheus, exporter, target):
    target.series = {"a": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("a", seconds=180))
    with serve(Reply(b"ok")) as slack:
        ours = exporter(
            {
                "prometheus_url": source.url,
                "metrics": ["level"],
                "window_minutes": 2,
                "step": "1s",
                "slack_webhook_url": slack.url + HOOK,
            }
        )
        eventually(lambda: feed(ours)["jobs"]["level"]["states"]["ready"] == 1)
        target.series["a"] = 1000.0
        eventually(lambda: slack.requests)
        assert json.loads(slack.requests[0].body)["text"].startswith("ANOMALY in level: instance=target")

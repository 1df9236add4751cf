"""Every text of an alert's whole life, from a fault in a real Prometheus to receivers: none tells a normal state."""

import re
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.servers import get
from exporter.config.sections.root import Config
from rules.generate import generate
from tests.e2e.conftest import Page
from tests.e2e.test_end_to_end import QUICK, config, history, watching
from tests.sinks.conftest import HOOK
from tests.sinks.conftest import texts as sent
from tests.support.receivers import Inbox
from tests.support.stub import Reply, serve
from tests.support.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

NORMAL, FAULT = 10.0, 100.0
JOB = {
    "expr": "level",
    **QUICK,
    "clear_after": "6s",
    "max_age": "1m",
    "alert": {"metric": "flag", "for": "1s", "keep_firing_for": "9s"},
}
NUMBER = r"(-?[0-9.]+)"
WORST = re.compile(
    rf"worst at [0-9:]+ UTC: observed {NUMBER}, expected {NUMBER} \(normal: {NUMBER} to {NUMBER}\), score {NUMBER} "
    r"\(above 1 is anomalous\); (?:[^;]+; by chance [^;]+; )?"
    r"(since [0-9:]+ UTC|from [0-9:]+ to [0-9:]+ UTC) \([0-9a-z ]+\)"
)


def checked(text: str) -> bool:
    """Check that a text tells the fault and its time, once; return whether it says that it is over."""
    [found] = WORST.findall(text)
    observed, expected, lower, upper, score = map(float, found[:5])
    assert (observed > 0.9 * FAULT, expected < 1.2 * NORMAL, lower < upper < observed, score > 1) == (True,) * 4, text
    assert len(re.findall(r"\b(?:since|from) [0-9]", text)) == 1, text
    return found[5].startswith("from")


def generated(inbox: Inbox, folder: Path) -> dict[str, str]:
    """Return the rules and the routing, to a webhook and to Slack."""
    (folder / "hook").write_text(f"{inbox.url}/slack")
    receiver = {
        "webhook": {"url": f"{inbox.url}/webhook"},
        "slack": {"webhook": {"file": str(folder / "hook")}, "channel": "#alerts"},
        "group_wait": "0s",
        "rate_limit": {"count": 1000, "interval": "500s"},
    }
    alerting = {"receivers": {"chat": receiver}, "routes": {"ticket": ["chat"]}}
    made = generate(Config.model_validate({"jobs": {"level": JOB}, "alerting": alerting}))
    (folder / "job.yml").write_text(made["rules/job-level.yml"])
    return made


def test_no_text_of_an_alerts_life_tells_a_normal_state(
    prometheus: Any, alertmanager: Any, exporter: Any, target: Any, tmp_path: Any
) -> None:
    """A fault, its end, and while the alert still fires a second one with a restart of ours in the middle."""
    target.series = {"a": NORMAL, "b": NORMAL}
    with Inbox() as inbox, serve(Reply(b"ok")) as slack:
        manager = alertmanager(generated(inbox, tmp_path)["alertmanager.yml"])
        source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
        source.wait_for("level")
        (tmp_path / "own").write_text(slack.url + HOOK)
        notify = {"slack": {"file": str(tmp_path / "own")}, "rate_limit": {"count": 100, "interval": "1s"}}
        state = {"path": str(tmp_path / "state"), "every": "1s"}
        ours = exporter(config(source, {"level": JOB}, notify=notify, state=state))
        source.scrape["anomaly-exporter"] = ours.address
        source.rules, source.alertmanager = (tmp_path / "job.yml",), manager.address
        source.reload()
        shown: set[str] = set()

        def alerts() -> list[dict[str, Any]]:
            found = get(f"{source.url}/api/v1/alerts", timeout=PATIENCE).json()["data"]["alerts"]
            mine = [alert for alert in found if alert["labels"]["alertname"] == "AnomalyLevel"]
            shown.update(alert["annotations"]["description"] for alert in mine)
            return [alert for alert in mine if alert["state"] == "firing"]

        def told(status: str) -> list[str]:
            posts = [alert for post in inbox.to("/webhook") for alert in post.body["alerts"]]
            return [alert["annotations"]["description"] for alert in posts if alert["status"] == status]

        def flag() -> float | None:
            alerts()
            return Page(ours.url).one("anomaly_flag", name="b")

        eventually(lambda: (Page(ours.url).one("anomaly_score", name="b") or 9) < 1)
        target.series["b"] = FAULT
        eventually(lambda: alerts() and told("firing"))
        target.series["b"] = NORMAL
        eventually(lambda: flag() == 0)
        eventually(lambda: (alerts(), any(" from " in text or "; from" in text for text in shown))[1])
        eventually(lambda: not alerts() and told("resolved"))
        target.series["b"] = FAULT
        eventually(lambda: alerts() and len(told("firing")) >= 2)
        ours.kill()
        ours.start()
        eventually(lambda: flag() == 1)
        target.series["b"] = NORMAL
        eventually(lambda: flag() == 0)
        eventually(lambda: not alerts() and len(told("resolved")) >= 2)
        eventually(lambda: len(sent(slack)) >= 4)
        eventually(lambda: len(inbox.to("/slack")) >= 4)  # Alertmanager tells each receiver on its own

        lines = [text.splitlines() for text in sent(slack)]
        assert [line[0].split()[0] for line in lines] == ["ANOMALY", "OVER", "ANOMALY", "OVER"]
        assert [checked(line[1]) for line in lines] == [False, True, False, True]
        ends = [checked(text) for text in shown]
        assert (len(shown) > 5, any(ends), all(ends)) == (True, True, False)
        assert not any(checked(text) for text in told("firing"))
        assert (len(told("resolved")), [checked(text) for text in told("resolved")]) == (2, [True, True])
        in_slack = [post.body["attachments"][0]["text"] for post in inbox.to("/slack")]
        assert len([checked(text) for text in in_slack]) >= 4

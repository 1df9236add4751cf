"""From the message at night to the page, the reason, an answer, and the next night that stays silent.

Prometheus, Alertmanager, the rules, the browser and the exporter as a process are real. What is simulated: the three
days of samples are written into Prometheus beforehand, and the exporter's clock is set a day back for the first night.
"""

import os
import re
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from deploy.demo.process import free_port
from deploy.demo.servers import openmetrics
from exporter.config.sections.root import Config
from rules.generate import generate
from tests.e2e.test_end_to_end import config
from tests.support.receivers import Inbox
from tests.support.visit import visit
from tests.support.waiting import eventually

pytestmark = pytest.mark.servers

DAY, MINUTE = 86_400.0, 60.0
BEHIND = 7200.0
"""Seconds by which the exporter's clock is behind on the second night, so that there are samples ahead of it."""
FAULT = 3600.0
JOB = {"expr": "latency_seconds", "history": "1d", "alert": {"for": "0s", "keep_firing_for": "0s"}}


def nights(now: float) -> list[str]:
    """Return three days of minutes of two services: a burst in one each night, in the other a larger one in the second.

    The burst began 20 minutes before the exporter's time of that night.
    """
    rng, lines = np.random.default_rng(11), []
    times = np.arange(now - 3 * DAY, now, MINUTE)
    first, second = (now - BEHIND - each - 1200 for each in (DAY, 0.0))

    def during(start: float) -> np.ndarray:
        return (times >= start) & (times < start + FAULT)

    for service in ("cart", "search"):
        values = 0.12 + 0.01 * rng.normal(size=len(times))
        if service == "cart":
            values[during(first) | during(second)] += 0.3
        else:
            values[during(second)] += 0.9
        lines += openmetrics("latency_seconds", {"service": service}, times.tolist(), values.tolist())
    return lines


@pytest.fixture
def clock(monkeypatch):
    """Set the clock of what is started from now on so many seconds ahead."""
    folder = Path(__file__).parents[1] / "support/moved_clock"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), os.environ["PYTHONPATH"])))
    return lambda ahead: monkeypatch.setenv("MOVED_CLOCK", str(ahead))


def test_a_message_leads_to_the_page_and_an_answer_there_makes_the_next_night_silent(
    prometheus, alertmanager, exporter, clock, tmp_path
):
    now, port = time.time() // MINUTE * MINUTE, free_port()
    with Inbox() as inbox:
        rarely = {"count": 1000, "interval": "500s"}
        receivers = {"chat": {"webhook": {"url": f"{inbox.url}/webhook"}, "group_wait": "0s", "rate_limit": rarely}}
        web = {"actions": True, "external_url": f"http://127.0.0.1:{port}"}
        state = {"path": str(tmp_path / "state"), "every": "1s"}
        alerting = {"receivers": receivers, "routes": {"ticket": ["chat"]}}
        settings = {"jobs": {"latency": JOB}, "alerting": alerting, "web": web, "state": state}
        made = generate(Config.model_validate(settings))
        (tmp_path / "job.yml").write_text(made["rules/job-latency.yml"])
        manager = alertmanager(made["alertmanager.yml"])
        source = prometheus(history=nights(now))
        clock(-DAY - BEHIND)
        ours = exporter(config(source, {"latency": JOB}, web=web, state=state), port=port)
        source.scrape["anomaly-exporter"] = ours.address
        source.rules, source.alertmanager = (tmp_path / "job.yml",), manager.address
        source.reload()

        def told(status: str) -> list[dict]:
            posts = [alert for post in inbox.to("/webhook") for alert in post.body["alerts"]]
            return [alert for alert in posts if alert["status"] == status]

        def now_answer() -> dict:
            return httpx.get(f"{ours.url}/api/v1/now", trust_env=False, timeout=30).json()

        (message,) = eventually(lambda: told("firing"))
        assert message["labels"]["service"] == "cart"
        link = message["annotations"]["page_url"]
        with visit(link, width=390, height=800, dark=True) as page:
            seen = page.inner_text("main")
            assert "service=cart" in seen.replace(" ", "")
            assert re.search(r"observed 4[\d.]+ ms, expected 1[12][\d.]+ ms \(normal: .* to .* ms\)", seen), seen
            page.check("input[value=expected]")
            page.select_option("select[name=when]", "daily")
            page.fill("textarea[name=why]", "nightly export")
            page.fill("input[name=who]", "eva")
            page.click("form.answer button")
            page.wait_for_selector(".answers li")
        eventually(lambda: now_answer()["expected"] == 1)
        eventually(lambda: told("resolved"))

        ours.stop()
        clock(-BEHIND)  # the next night
        before = len(inbox.posts)
        ours.start()
        eventually(lambda: now_answer()["alerting"] == 1)
        eventually(lambda: len(told("firing")) > 1)
        assert [alert["labels"]["service"] for alert in told("firing")[1:]] == ["search"], "what is larger is told"
        answer = now_answer()
        assert answer["expected"] == 1
        assert [each["labels"] for group in answer["groups"] for each in group["incidents"]] == [{"service": "search"}]
        assert len(inbox.posts) > before
        with visit(link) as page:
            assert "every day around" in page.inner_text(".answers li")

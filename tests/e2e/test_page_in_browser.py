"""The pages in a real browser, beside a real Prometheus and a fault."""

from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from tests.e2e.test_end_to_end import QUICK, config, history, watching
from tests.support.browser import Browser, pixels
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers
PAPER, RED, GREEN, INCIDENT = "#f6f8fa", "#fdecea", "#e6f4ea", "#ffe2a8"
DARK = "#10151b"


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path)


def api(server, what):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{server.url}/api/v1/{what}", timeout=PATIENCE).json()


def test_a_fault_is_seen_on_every_screen_and_its_link_outlives_it(prometheus, exporter, target, browser, tmp_path):
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    jobs = {"level": {"expr": "level", **QUICK, "clear_after": "4s", "max_age": "1m"}}
    ours = exporter(config(source, jobs, state={"path": str(tmp_path / "state"), "every": "1s"}, deadline="5s"))
    eventually(lambda: api(ours, "now")["quiet"]["watched"] == 2)
    assert pixels(browser.picture(ours.url, 1000, 700), GREEN) > 10_000, "quiet is not seen"

    target.series["b"] = 100.0
    eventually(lambda: api(ours, "now")["alerting"] == 1)
    for width in (390, 1000):
        seen = browser.picture(ours.url, width, 900)
        assert pixels(seen, RED) > 5_000
        assert pixels(seen, INCIDENT) > 100, "no sparkline is seen"
        assert (seen[:, -4:] == np.array([0xF6, 0xF8, 0xFA])).all(), "something sticks out at the right"
    assert pixels(browser.picture(ours.url, 1000, 900, dark=True), DARK) > 100_000
    page, asked = browser.read(ours.url)
    assert "1 alert</h1>" in page
    assert browser.complaints == ""
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(ours.url).netloc}

    link = api(ours, "now")["groups"][0]["incidents"][0]["link"]
    ours.kill()
    ours.start()
    eventually(lambda: api(ours, link)["incident"] is not None)
    target.series["b"] = 10.0
    eventually(lambda: api(ours, link)["past"] is not None)
    assert api(ours, link)["past"]["ending"] == "recovered"
    page, _ = browser.read(f"{ours.url}/{link}")
    assert "How it ended: back to normal." in page
    assert browser.complaints == ""

    source.stop()
    eventually(lambda: api(ours, "now")["unseen"])
    page, _ = browser.read(ours.url)
    assert "Nothing found, but not everything can be seen" in page
    assert "No new verdicts since" in page


def test_without_a_state_folder_a_link_shows_what_prometheus_has_scraped(prometheus, exporter, target):
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    ours = exporter(config(source, {"level": {"expr": "level", **QUICK}}))
    source.scrape = {
        "target": watching(target),
        "anomaly": {"honor_labels": True, "static_configs": [{"targets": [ours.address]}]},
    }
    source.reload()
    target.series["b"] = 100.0
    source.wait_for('anomaly_flag{query="level",name="b"} == 1')
    link = api(ours, "now")["groups"][0]["incidents"][0]["link"]
    target.series["b"] = 10.0
    source.wait_for('anomaly_flag{query="level",name="b"} == 0')
    ours.kill()
    ours.start()
    eventually(lambda: api(ours, "now")["quiet"]["watched"] == 2)
    answer = api(ours, link)
    assert 1.0 in answer["flag"], answer["notes"]
    close = api(ours, f"{link}&range=120")
    assert max(value or 0.0 for value in close["curves"][0]["value"]) > 90
    assert any(upper is not None for upper in answer["curves"][0]["upper"])
    assert "does not remember the incident" in answer["notes"][-1]

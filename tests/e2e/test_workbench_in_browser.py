"""From an expression to a running job: the workbench by keyboard alone, its YAML checked, reloaded, and published."""

import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from deploy.demo.servers import openmetrics
from tests.e2e.conftest import Page
from tests.e2e.test_end_to_end import config, post
from tests.support.visit import faults, visit
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers
HOURS = 30


def metrics() -> list[str]:
    """Return 30 hours of minutes of two metrics with what they are about."""
    rng, lines = np.random.default_rng(5), []
    times = time.time() // 60 * 60 - 60 * np.arange(HOURS * 60 - 1, -1, -1)
    for name in ("queue_depth", "queue_wait_seconds"):
        lines += [f"# TYPE {name} gauge", f"# HELP {name} About {name}."]
        for instance in ("a", "b"):
            values = 40 + rng.normal(0, 1, len(times))
            if instance == "a":
                values[-200:-150] += 60
            lines += openmetrics(name, {"instance": instance}, times.tolist(), values.tolist())
    return lines


@pytest.mark.parametrize(("width", "dark"), [(1000, False), (390, True)])
def test_an_expression_becomes_a_running_job_by_keyboard_alone(prometheus, exporter, target, tmp_path, width, dark):
    target.series = {"a": 10.0}
    source = prometheus(scrape={"target": {"static_configs": [{"targets": [target.address]}]}}, history=metrics())
    source.wait_for("level")
    web = {"workbench": True, "enable_reload": True}
    ours = exporter(config(source, {"level": {"expr": "level", "step": "5s", "window": "1m"}}, web=web), ready=False)
    with visit(f"{ours.url}/workbench", width=width, height=800, dark=dark) as page:
        while page.evaluate("() => document.activeElement.id") != "expr":
            page.keyboard.press("Tab")
        page.keyboard.type("max by (instance) (lev")
        page.wait_for_selector("#completions li")
        page.keyboard.press("ArrowDown")
        assert page.evaluate("() => document.activeElement.getAttribute('aria-activedescendant')") == "completion-0"
        assert faults(page) == []
        page.keyboard.press("Enter")
        assert page.input_value("#expr") == "max by (instance) (level"
        assert page.is_hidden("#completions")
        page.fill("#expr", "")
        page.keyboard.type("queue_depth")
        page.keyboard.press("Escape")
        page.keyboard.press("Tab")
        page.keyboard.type("queue")
        page.keyboard.press("Enter")
        page.wait_for_selector("#decided", timeout=1000 * PATIENCE)
        page.wait_for_selector("text=Exact: a job that learnt", timeout=1000 * PATIENCE)
        assert page.inner_text("#decided h2").startswith("1 alert")
        while page.evaluate("() => document.activeElement.name") != "least_deviation":
            page.keyboard.press("Tab")
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type("500")
        page.wait_for_selector("text=0 alerts and 0 other incidents", timeout=1000 * PATIENCE)
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type("5")
        page.wait_for_selector("text=1 alert and", timeout=1000 * PATIENCE)
        assert faults(page) == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        while page.evaluate("() => document.activeElement.id") != "copy":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        copied = page.evaluate("() => getSelection().toString()")
    new = yaml.safe_load(copied)
    assert new == {"jobs": {"queue": {"expr": "queue_depth", "least_deviation": 5.0, "budget": "1 per week"}}}
    ours.config["jobs"] |= new["jobs"]
    ours.arguments()  # writes the file
    command = [sys.executable, "-m", "exporter", "check-config", str(ours.directory / "anomaly.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert post(f"{ours.url}/-/reload").status_code == 200
    eventually(lambda: len(Page(ours.url).get("anomaly_score", query="queue")) == 2)

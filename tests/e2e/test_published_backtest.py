"""A backtest run beside the exporter reaches its page, as from a CronJob on a shared volume."""

import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from tests.e2e.conftest import Page
from tests.e2e.test_end_to_end import QUICK, config
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers
STEP, MINUTES = 60, 300


def history():
    """Five hours of two instances; b had an outage of 15 minutes, and an alert that told of it."""
    begin, rng = time.time() // STEP * STEP - STEP * MINUTES, np.random.default_rng(0)
    outage = range(230, 245)
    yield "# TYPE load gauge"
    for instance in "ab":
        for minute in range(MINUTES):
            value = 10 + rng.uniform() + 40 * (instance == "b" and minute in outage)
            yield f'load{{instance="{instance}"}} {value:.4f} {begin + STEP * minute:.0f}'
    yield "# TYPE ALERTS gauge"
    for minute in outage:
        labels = 'alertname="NodeBusy",alertstate="firing",instance="b"'
        yield f"ALERTS{{{labels}}} 1 {begin + STEP * minute:.0f}"


def test_the_page_of_the_running_exporter_shows_what_the_backtest_found(prometheus, exporter, tmp_path):
    source = prometheus(history=history())
    settings = config(source, {"load": {"expr": "load", "entity": ["instance"], "history": "1m", **QUICK}})
    settings["state"] = {"path": str(tmp_path / "state")}
    running = exporter(settings)
    assert not Page(running.url).get("anomaly_exporter_backtest_timestamp_seconds")
    file = tmp_path / "anomaly.yml"
    file.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "exporter", "backtest", "--config", file, "--since", "3h", "--publish"]
    for minutely in ("step=1m", "window=1h", "history=1h", "max_age=5m", "clear_after=5m"):
        command += ["--set", minutely]
    command += ["--labels-from-alerts", 'alertname="NodeBusy"']
    began = time.time()
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=2 * PATIENCE
    )
    assert done.returncode == 0, done.stderr

    def shown():
        page = Page(running.url)
        return page if page.one("anomaly_exporter_backtest_timestamp_seconds", query="load") else None

    page = eventually(shown)
    assert page.one("anomaly_exporter_backtest_recall", query="load") == 1.0
    assert page.one("anomaly_exporter_backtest_precision", query="load") == 1.0
    assert page.one("anomaly_exporter_backtest_events", query="load") == 1
    assert began <= page.one("anomaly_exporter_backtest_timestamp_seconds", query="load") <= time.time()

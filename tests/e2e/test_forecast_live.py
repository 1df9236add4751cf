"""A disk that fills, on real servers: the past is asked of Prometheus, and the alert says when it is full."""

import time

import httpx
import numpy as np
import pytest

from deploy.demo.history import openmetrics
from exporter.config.sections.root import Config
from rules.alerts.names import LIMIT
from rules.generate import generate
from tests.e2e.conftest import Page
from tests.e2e.test_end_to_end import config
from tests.support.waiting import eventually

pytestmark = pytest.mark.servers

DAY, HOUR = 86_400.0, 3600.0
GIB = 2.0**30
FULL_IN = 20 * HOUR
JOB = {
    "expr": "disk_free_bytes", "direction": "below", "step": "5s", "window": "1m", "history": "5m",
    "detector": "robust", "forecast": {"limit": 0, "within": "2d", "for": "0s"},
}  # fmt: skip


def disks(now: float) -> list[str]:
    """Return eight days of three disks: one fills, one is cleaned up every day, one stands still; up to now."""
    times = np.arange(now - 8 * DAY, now, 60.0)
    ago = now - times
    rng = np.random.default_rng(3)
    free = {
        "/var": 1.2 * GIB * (ago + FULL_IN) / HOUR,
        "/logs": GIB * (5 + 20 * (1 - times % DAY / DAY)),
        "/": GIB * (30 + 0.1 * rng.standard_normal(len(times))),
    }
    return [
        line
        for name, values in free.items()
        for line in openmetrics("disk_free_bytes", {"mountpoint": name}, times.tolist(), values.tolist())
    ]


def test_the_past_is_asked_for_once_and_only_the_disk_that_fills_is_an_alert(prometheus, exporter, tmp_path):
    made = generate(Config.model_validate({"jobs": {"disks": JOB}}))
    (tmp_path / "job.yml").write_text(made["rules/job-disks.yml"])
    now = time.time()
    source = prometheus(history=disks(now))
    ours = exporter(config(source, {"disks": JOB}))
    source.scrape["anomaly-exporter"] = ours.address
    source.rules = (tmp_path / "job.yml",)
    source.reload()
    expected = "anomaly_forecast_reaches_limit_timestamp_seconds"
    eventually(lambda: Page(ours.url).one("anomaly_exporter_forecast_series", state="learning") == 0)
    page = Page(ours.url)
    assert abs(page.one(expected, mountpoint="/var") - (now + FULL_IN)) < HOUR
    assert page.one(expected, mountpoint="/logs") == page.one(expected, mountpoint="/") == np.inf
    assert page.one("anomaly_exporter_forecast_queries_total", query="disks", outcome="success") == 1
    (firing,) = source.wait_for(f'ALERTS{{alertname="{LIMIT}",alertstate="firing"}}')
    assert firing["metric"]["mountpoint"] == "/var"
    (alert,) = [
        each
        for each in httpx.get(f"{source.url}/api/v1/alerts", trust_env=False, timeout=30).json()["data"]["alerts"]
        if each["labels"]["alertname"] == LIMIT
    ]
    text = alert["annotations"]["description"]
    assert text.startswith("Reaches 0 B between ")
    assert ", at -1." in text
    (near,) = httpx.get(f"{ours.url}/api/v1/now", trust_env=False, timeout=30).json()["limits"]
    assert near["labels"] == {"mountpoint": "/var"}

"""A team's ConfigMap, a real exporter and a real Prometheus with the series of two tenants."""

import pytest
import requests

from tests.e2e.conftest import Page
from tests.support.cluster import emulated, kubeconfig
from tests.support.declared import config_map
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers

QUICK = "step: 1s, window: 30s, max_age: 1h"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with emulated() as (cluster, url):
        (tmp_path / "kubeconfig").write_text(kubeconfig(url))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield cluster
        cluster.away = True  # watches end


def scores(url, query):
    return {dict(labels)["namespace"] for labels in Page(url).get("anomaly_score", query=query)}


def test_each_team_sees_its_own_series_and_a_broken_job_stops_no_other(prometheus, exporter, cluster):
    source = prometheus()
    source.scrape = {
        name: {"static_configs": [{"targets": [source.address], "labels": {"namespace": name}}]}
        for name in ("shop", "bank")
    }
    source.reload()
    source.wait_for('up{namespace="bank"}')
    ours = exporter(
        {
            "prometheus": {"url": source.url},
            "discover": {"least_step": "1s"},
            "state": {"path": "state"},
            "log": {"format": "json"},
        }
    )
    assert not Page(ours.url).get("anomaly_exporter_cycles_total"), "ready without any job"
    cluster.put(config_map("shop", f"jobs: {{up: {{expr: up, {QUICK}}}}}"))
    eventually(lambda: scores(ours.url, "shop:up"))
    cluster.put(config_map("bank", f"jobs: {{up: {{expr: up, {QUICK}}}, bad: {{expr: 'up{{namespace=\"shop\"}}'}}}}"))
    eventually(lambda: scores(ours.url, "bank:up"))
    assert scores(ours.url, "shop:up") == {"shop"}
    assert scores(ours.url, "bank:up") == {"bank"}
    page = Page(ours.url)
    assert page.get("anomaly_exporter_discovery_refused") == {
        (("kind", "ConfigMap"), ("name", "jobs"), ("namespace", "bank")): 1.0
    }
    with requests.Session() as session:
        session.trust_env = False
        assert "asks for namespace=" in session.get(f"{ours.url}/", timeout=PATIENCE).text
    cluster.take_away("ConfigMap", "jobs", "shop")
    eventually(lambda: not scores(ours.url, "shop:up"))
    assert scores(ours.url, "bank:up") == {"bank"}

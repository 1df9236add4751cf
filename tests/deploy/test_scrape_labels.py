"""What scraping does to our page: a judged series never gets the labels of the exporter's own target."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.demo.local import LocalServer
from deploy.demo.servers import PrometheusServer
from deploy.kubernetes.manifests import default
from deploy.kubernetes.monitoring import service_monitor
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.metrics_page import Page
from rules.generate import generate
from tests.support.verdicts import key, verdict

ROOT = Path(__file__).parents[2]
HOME = ROOT / "docs" / "metrics.md"
"""The page that says how to scrape us; every other place shows the same lines."""
OPERATORS = ("namespace", "pod", "service", "container", "endpoint")
"""Labels that the Prometheus operator gives to the target of a ServiceMonitor."""
CART = key(cluster="eu", deployment="cart")
ITSELF = key(instance="10.1.0.7:9877", job="anomaly-exporter", namespace="anomaly-exporter", pod="anomaly-exporter-a")
"""A judged series about the exporter itself, such as its `up`: these labels are its own."""


def snippets(text: str) -> list[dict[str, Any]]:
    """Return the scrape jobs of the exporter in the YAML blocks of a page of the documentation."""
    blocks = (yaml.safe_load(block) for block in re.findall(r"```ya?ml\n(.*?)```", text, re.DOTALL))
    jobs = [job for block in blocks if isinstance(block, dict) for job in block.get("scrape_configs", ())]
    return [job for job in jobs if job["job_name"] == "anomaly-exporter"]


def scrape_config(endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the endpoint of a ServiceMonitor as the operator writes it for Prometheus."""

    def snake(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", name): rule[name] for name in rule} for rule in rules]

    return {
        "honor_labels": endpoint.get("honorLabels", False),
        "relabel_configs": snake(endpoint.get("relabelings", [])),
        "metric_relabel_configs": snake(endpoint.get("metricRelabelings", [])),
    }


class Exporter(LocalServer):
    """A real page of judged series and of the exporter's own metrics."""

    def __init__(self, job: str) -> None:
        super().__init__()
        self.metrics = SelfMetrics()
        self.page = Page(self.metrics)
        self.metrics.last_success.labels(job).set(time.time())
        everything = key()
        found = verdict(
            (CART, ITSELF, everything), job, flag=[True, False, False], alert=[True, False, False],
            groups={key(): 2.0},
        )  # fmt: skip
        self.page.publish(found, ("alert", "value", "lower"))
        self.page.render()

    def get(self) -> str:
        return self.page.current.body.decode()


class Monitored:
    """The target of a ServiceMonitor, in a file that Prometheus watches."""

    def __init__(self, folder: Path, address: str) -> None:
        folder.mkdir()
        self.file, self.address = folder / "targets.json", address

    def runs_as(self, pod: str, instance: str) -> None:
        """Let Prometheus find the exporter in this pod."""
        name = "anomaly-exporter"
        labels = {"namespace": name, "pod": pod, "service": name, "container": "exporter", "endpoint": "metrics"}
        target = {"targets": [self.address], "labels": {**labels, "job": name, "instance": instance}}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps([target]))
        new.rename(self.file)


class Scraped:
    """A Prometheus that scrapes one exporter by the snippet of the documentation, one by the ServiceMonitor."""

    def __init__(self, server: PrometheusServer, pod: Monitored) -> None:
        self.server, self.pod = server, pod

    def labels(self, selector: str) -> list[dict[str, str]]:
        """Return the labels of the series, without those that say which series it is."""
        self.server.wait_for(selector)
        ours = {"__name__", "query", "detector"}
        return [{k: v for k, v in one["metric"].items() if k not in ours} for one in self.server.query(selector)]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the firing alerts on the judged series of the monitored exporter."""
        found = self.server.query('ALERTS{alertname="AnomalyMonitored",alertstate="firing"}')
        since = {one["value"][1] for one in self.server.query('ALERTS_FOR_STATE{alertname="AnomalyMonitored"}')}
        return [{"labels": one["metric"], "since": since} for one in found]


@pytest.fixture(scope="module")
def scraped(servers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("scraped")
    with ExitStack() as stack:
        static, monitored = (stack.enter_context(Exporter(job)) for job in ("static", "monitored"))
        pod = Monitored(folder / "sd", monitored.address)
        pod.runs_as("anomaly-exporter-a", "10.1.0.7:9877")
        [snippet] = snippets(HOME.read_text())
        del snippet["job_name"]
        [endpoint] = service_monitor(default())["spec"]["endpoints"]
        found = {"file_sd_configs": [{"files": [str(pod.file)], "refresh_interval": "1s"}]}
        made = generate(Config.model_validate({"jobs": {"monitored": {"expr": "x", "alert": {"metric": "alert"}}}}))
        (folder / "rules.yml").write_text(re.sub(r"for: [1-9]\w*", "for: 0s", made["rules/job-monitored.yml"]))
        server = PrometheusServer(
            folder / "prometheus",
            scrape={
                "anomaly-exporter": {**snippet, "static_configs": [{"targets": [static.address]}]},
                "monitor": {**scrape_config(endpoint), **found},
            },
            rules=[folder / "rules.yml"],
        )
        yield Scraped(stack.enter_context(server), pod)


def target(scraped: Scraped, job: str) -> dict[str, str]:
    """Return the labels of the exporter's own target."""
    [found] = scraped.labels(f'anomaly_exporter_last_success_timestamp_seconds{{query="{job}"}}')
    return found


@pytest.mark.servers
@pytest.mark.parametrize("job", ["static", "monitored"])
def test_judged_series_keep_their_labels_and_get_none_of_the_exporters(scraped: Scraped, job: str) -> None:
    everything, cart, itself = ({}, dict(CART), dict(ITSELF))
    for family in ("score", "flag", "alert", "value", "lower"):
        found = scraped.labels(f'anomaly_{family}{{query="{job}"}}')
        assert sorted(found, key=str) == sorted([everything, cart, itself], key=str), family
    assert scraped.labels(f'anomaly_group_score{{query="{job}"}}') == [{}]


@pytest.mark.servers
def test_the_exporters_own_metrics_say_which_replica_they_are_of(scraped: Scraped) -> None:
    assert target(scraped, "static").keys() == {"job", "instance"}
    pod = target(scraped, "monitored")
    assert pod.keys() == {"job", "instance", *OPERATORS}
    for labels in (target(scraped, "static"), pod):
        chosen = ",".join(f'{name}="{value}"' for name, value in labels.items())
        assert scraped.server.wait_for(f"up{{{chosen}}} == 1")
        assert labels["job"] == "anomaly-exporter"  # the alerts on the exporter select it


@pytest.mark.servers
def test_an_alert_stays_one_and_the_same_when_the_exporters_pod_is_replaced(scraped: Scraped) -> None:
    scraped.server.wait_for('ALERTS{alertname="AnomalyMonitored",alertstate="firing"}')
    [before] = scraped.alerts()
    rest = {name: before["labels"].get(name) for name in (*OPERATORS, "instance", "job")}
    assert set(rest.values()) == {None}
    assert dict(CART).items() <= before["labels"].items()
    scraped.pod.runs_as("anomaly-exporter-b", "10.1.0.9:9877")
    scraped.server.wait_for('up{pod="anomaly-exporter-b"} == 1')
    scraped.server.wait_for('count_over_time(anomaly_exporter_build_info{pod="anomaly-exporter-b"}[1m]) > 3')
    assert scraped.alerts() == [before]


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_page_shows_the_same_lines_for_scraping() -> None:
    [right] = snippets(HOME.read_text())
    shown = {str(page.relative_to(ROOT)): found for page in pages() if (found := snippets(page.read_text()))}
    assert {"README.md", "docs/tutorial.md", "docs/metrics.md"} <= shown.keys()
    assert all(found == [right] for found in shown.values()), shown


def test_the_compose_file_and_the_monitor_scrape_as_the_documentation_says() -> None:
    [right] = snippets(HOME.read_text())
    compose = yaml.safe_load((ROOT / "deploy/compose/prometheus/prometheus.yml").read_text())
    [ours] = [job for job in compose["scrape_configs"] if job["job_name"] == "anomaly-exporter"]
    [endpoint] = service_monitor(default())["spec"]["endpoints"]
    only_where = ("job_name", "static_configs")
    assert {**ours, **dict.fromkeys(only_where)} == {**right, **dict.fromkeys(only_where)}
    assert endpoint["honorLabels"] is right["honor_labels"] is True

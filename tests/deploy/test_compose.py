"""The compose file, and the stack it describes run with the real servers."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from deploy.demo.servers import AlertmanagerServer, ExporterServer, NodeExporterServer, PrometheusServer, free_port, get
from deploy.kubernetes.settings import CONFIG, DATA
from exporter.config.load import load
from tests.support.generated import passes, written
from tests.support.waiting import PATIENCE

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
STACK = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = STACK["services"]


def mounts(service: str) -> dict[str, str]:
    """Return sources by their place in the container."""
    return {mount.split(":")[1]: mount.split(":")[0] for mount in SERVICES[service]["volumes"]}


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """What the service `rules` writes."""
    return written(tmp_path / "generated", load(FOLDER / "config/anomaly.yml", environ={}).config)


def test_the_file_is_valid() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        FOLDER / "compose.yaml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_has_all_that_is_needed_in_versions_that_are_named() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert set(images) == {"rules", "exporter", "prometheus", "alertmanager", "grafana", "node-exporter"}
    assert images["rules"] == images["exporter"] == "${ANOMALY_EXPORTER_IMAGE:-anomaly-exporter:latest}"
    others = [image for name, image in images.items() if name not in {"rules", "exporter"}]
    assert all(re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+", image) for image in others)


def test_nothing_is_reached_from_another_machine_and_nothing_has_rights_it_does_not_need() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert service.get("read_only") or name == "grafana", name


def test_every_file_and_volume_it_mounts_is_there() -> None:
    used = set()
    for name in SERVICES:
        for source in mounts(name).values():
            if source.startswith("."):
                assert (FOLDER / source).is_dir(), source
            elif source != "/":
                used.add(source)
    assert used == set(STACK["volumes"])
    assert (FOLDER / SERVICES["rules"]["build"]["context"] / SERVICES["rules"]["build"]["dockerfile"]).is_file()


def test_the_servers_read_what_the_exporter_generates(generated: Path) -> None:
    """Rules, routing and dashboards come from the configuration at every start: nothing generated is kept."""
    assert SERVICES["rules"]["command"] == ["rules", "--out", "."], "into the working directory of the image"
    assert mounts("rules")[DATA] == "generated"
    assert mounts("rules")[CONFIG] == mounts("exporter")[CONFIG] == "./config"
    for name in ("prometheus", "alertmanager", "grafana"):
        assert mounts(name)["/generated"] == "generated"
        assert SERVICES[name]["depends_on"]["rules"] == {"condition": "service_completed_successfully"}
    config = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())
    [pattern] = config["rule_files"]
    assert list(generated.glob(pattern.removeprefix("/generated/")))
    [flag] = [flag for flag in SERVICES["alertmanager"]["command"] if flag.startswith("--config.file")]
    assert (generated / flag.removeprefix("--config.file=/generated/")).is_file()
    [provider] = yaml.safe_load((FOLDER / "grafana/dashboards/anomaly-exporter.yml").read_text())["providers"]
    assert list((generated / provider["options"]["path"].removeprefix("/generated/")).glob("*.json"))
    [source] = yaml.safe_load((FOLDER / "grafana/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    passes(generated)


def test_every_address_is_a_service_that_listens_there() -> None:
    texts = [path.read_text() for path in FOLDER.glob("*/*.yml")] + [
        path.read_text() for path in FOLDER.glob("*/*/*.yml")
    ]
    ports = {"prometheus": 9090, "alertmanager": 9093, "node-exporter": 9100, "exporter": 9877}
    found = {match for text in texts for match in re.findall(r"([a-z-]+):(9\d{3})\b", text)} - {("localhost", "9090")}
    assert found == {(name, str(port)) for name, port in ports.items()}
    assert set(ports) <= set(SERVICES)


@pytest.fixture
def stack(servers: None, generated: Path, tmp_path: Path) -> Iterator[tuple[PrometheusServer, AlertmanagerServer]]:
    """The services with the files of the compose folder; only names and ports are replaced, and times are shortened."""
    ports = {"prometheus": free_port(), "exporter": free_port()}
    with ExitStack() as running:
        node = running.enter_context(NodeExporterServer(tmp_path / "node"))
        pager = AlertmanagerServer(tmp_path / "pager", (generated / "alertmanager.yml").read_text())
        alertmanager = running.enter_context(pager)
        addresses = {
            "node-exporter:9100": node.address,
            "alertmanager:9093": alertmanager.address,
            "exporter:9877": f"127.0.0.1:{ports['exporter']}",
            "localhost:9090": f"127.0.0.1:{ports['prometheus']}",
            "prometheus:9090": f"127.0.0.1:{ports['prometheus']}",
            "/generated/": f"{generated}/",
            "15s": "1s",
            DATA: str(tmp_path),
        }

        def here(file: str) -> str:
            text = (FOLDER / file).read_text()
            for name, address in addresses.items():
                text = text.replace(name, address)
            return text

        scraping = PrometheusServer(
            tmp_path / "prometheus", here("prometheus/prometheus.yml"), port=ports["prometheus"]
        )
        prometheus = running.enter_context(scraping)
        prometheus.wait_for("node_load1")
        config = yaml.safe_load(here("config/anomaly.yml"))
        for job in config["jobs"].values():
            job |= {"step": "1s", "window": "2s", "detector": "robust"}
        running.enter_context(ExporterServer(tmp_path / "exporter", config, port=ports["exporter"]))
        yield prometheus, alertmanager


@pytest.mark.slow
@pytest.mark.servers
def test_the_stack_scrapes_judges_and_alerts(stack: tuple[PrometheusServer, AlertmanagerServer]) -> None:
    prometheus, alertmanager = stack
    for job in ("prometheus", "node", "anomaly-exporter"):
        prometheus.wait_for(f'up{{job="{job}"}} == 1')
    judged = prometheus.wait_for('anomaly_exporter_series{query="prometheus-targets"} > 0')
    assert {one["metric"]["job"] for one in judged} == {"anomaly-exporter"}
    prometheus.wait_for('ALERTS{alertname="Watchdog"}')
    prometheus.wait_for("prometheus_notifications_sent_total > 0")
    told = get(f"{alertmanager.url}/api/v2/alerts", timeout=PATIENCE).json()
    assert "Watchdog" in {alert["labels"]["alertname"] for alert in told}

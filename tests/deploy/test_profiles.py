"""dev, stage and prod from end to end: the same program and the same base file; what differs is configuration alone."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from helm_python.chart import Chart
from typer.testing import CliRunner

from deploy.demo.servers import PrometheusServer, Server, get
from deploy.helm.chart import FOLDER
from exporter.cli.main import cli
from exporter.config.load import load
from tests.support.generated import passes
from tests.support.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
BASE = ROOT / "examples" / "anomaly.yml"
PROFILES = ("dev", "stage", "prod")


def command(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)), env={"ANOMALY_EXPORTER_PROFILE": ""})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def flat(tree: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from flat(value, f"{place}.{key}" if place else key)
    else:
        yield place, tree


def said(profile: str) -> dict[str, Any]:
    """Return what the file of a profile says, by key."""
    return dict(flat(yaml.safe_load(BASE.with_name(f"anomaly.{profile}.yml").read_text())))


def config(profile: str) -> dict[str, Any]:
    return dict(flat(load(BASE, profile, {}).config.model_dump(mode="json", exclude_defaults=True)))


def deployed(profile: str, *options: str) -> dict[str, dict]:
    result = command("deploy", "--config", BASE, "--profile", profile, "--dry-run", *options)
    assert result.exit_code == 0, result.stderr
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(result.stdout)}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_good(profile: str) -> None:
    result = command("check-config", BASE, "--profile", profile)
    assert result.exit_code == 0, result.stderr
    jobs = 1 if profile == "dev" else 2
    assert f"good; {jobs} job" in result.stdout


@pytest.mark.servers
@pytest.mark.parametrize("profile", PROFILES)
def test_the_rules_of_every_profile_pass_promtool_and_amtool(servers: None, tmp_path: Path, profile: str) -> None:
    result = command("rules", "--config", BASE, "--profile", profile, "--out", tmp_path / "made")
    assert result.exit_code == 0, result.stderr
    passes(tmp_path / "made")


def test_an_api_in_trouble_calls_people_in_production_only(tmp_path: Path) -> None:
    severities = {}
    for profile in ("stage", "prod"):
        command("rules", "--config", BASE, "--profile", profile, "--out", tmp_path / profile)
        made = yaml.safe_load((tmp_path / profile / "rules/job-api.yml").read_text())
        severities[profile] = made["groups"][0]["rules"][0]["labels"]["severity"]
    command("rules", "--config", BASE, "--profile", "dev", "--out", tmp_path / "dev")
    assert severities == {"stage": "ticket", "prod": "page"}
    assert not (tmp_path / "dev/rules/job-api.yml").exists()


def test_the_pods_of_all_profiles_run_the_same_image_in_the_same_way() -> None:
    pods = {}
    for profile in PROFILES:
        made = deployed(profile, "--image", "anomaly-exporter:1")
        [container] = made["Deployment/anomaly-exporter"]["spec"]["template"]["spec"]["containers"]
        env = {one["name"]: one.get("value") for one in container.pop("env")}
        assert env["ANOMALY_EXPORTER_PROFILE"] == profile
        container.pop("volumeMounts")
        pods[profile] = container
    assert pods["dev"] == pods["stage"] == pods["prod"]


def test_only_production_trains_and_has_a_secret_which_its_objects_do_not_hold() -> None:
    made = {profile: deployed(profile) for profile in PROFILES}
    for name in ("CronJob/anomaly-exporter-train", "Secret/anomaly-exporter"):
        assert [profile for profile in PROFILES if name in made[profile]] == ["prod"]
    assert not {"data", "stringData"} & set(made["prod"]["Secret/anomaly-exporter"])
    for profile in PROFILES:
        files = made[profile]["ConfigMap/anomaly-exporter"]["data"]
        assert files == {path.name: path.read_text() for path in (BASE, BASE.with_name(f"anomaly.{profile}.yml"))}


def test_the_pods_of_each_profile_may_connect_to_its_own_source_only() -> None:
    ports = {}
    for profile in PROFILES:
        egress = deployed(profile)["NetworkPolicy/anomaly-exporter"]["spec"]["egress"]
        ports[profile] = [port["port"] for rule in egress[1:] for port in rule["ports"]]
    assert ports == {"dev": [9090], "stage": [9090], "prod": [443]}
    [_, source] = deployed("stage")["NetworkPolicy/anomaly-exporter"]["spec"]["egress"]
    assert source["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "stage"}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_chart_takes_the_values_of_every_profile(profile: str) -> None:
    result = command("deploy", "--config", BASE, "--profile", profile, "--values")
    assert result.exit_code == 0, result.stderr
    with Chart.load(ROOT / FOLDER) as chart:
        texts = chart.render(yaml.safe_load(result.stdout), name="release", namespace="anomaly-exporter")
    made = [one for name, text in texts.items() if name.endswith(".yaml") for one in yaml.safe_load_all(text) if one]
    assert {f"{one['kind']}/{one['metadata']['name']}" for one in made} == set(deployed(profile)) - {
        "Namespace/anomaly-exporter"
    }


def test_what_differs_is_what_the_files_of_the_profiles_say() -> None:
    """Nothing in the program asks for the name of a profile."""
    for one in PROFILES:
        for other in PROFILES:
            mine, theirs = config(one), config(other)
            different = {key for key in mine | theirs if mine.get(key) != theirs.get(key)}
            named = said(one).keys() | said(other).keys()
            unexplained = [key for key in different if not any(_covers(name, key) for name in named)]
            assert unexplained == [], (one, other)


def _covers(name: str, key: str) -> bool:
    """Whether a key of a file decides on one of the whole: its own, one below it, or one above that was missing."""
    return key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.")


def test_the_page_on_profiles_shows_what_their_files_say() -> None:
    page = (ROOT / "docs/profiles.md").read_text()
    told = {profile: said(profile) for profile in PROFILES}
    keys = dict.fromkeys(key for profile in PROFILES for key in told[profile])
    for key in keys:
        cells = [f"`{_written(told[profile][key])}`" if key in told[profile] else "" for profile in PROFILES]
        assert f"| `{key}` | {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |") in page
    assert page.count("\n| `") == len(keys)


def _written(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


class ProfileServer(Server):
    """`anomaly-exporter run` with the base file and nothing but the environment to tell the profile, as in a pod."""

    name = "exporter"
    ready_path = "/-/ready"
    environment: dict[str, str]

    def executable(self) -> list[str]:
        pairs = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", *pairs, sys.executable, "-m", "exporter", "run"]

    def arguments(self) -> list[str]:
        return ["--config", str(BASE), "--listen", self.address]


def queries(server: Server) -> set[str]:
    """Return the jobs on the page."""
    return set(
        re.findall(r'anomaly_exporter_series{.*query="([^"]+)"', get(f"{server.url}/metrics", timeout=PATIENCE).text)
    )


@pytest.mark.servers
@pytest.mark.parametrize("profile", ["dev", "stage"])
def test_the_same_command_runs_every_profile(profile: str, shared_prometheus: PrometheusServer, tmp_path: Path) -> None:
    """Jobs, log and state are those of the profile's file."""
    server = ProfileServer(tmp_path / profile)
    server.environment = {
        "ANOMALY_EXPORTER_PROFILE": profile,
        "ANOMALY_EXPORTER__PROMETHEUS__URL": shared_prometheus.url,
        "ANOMALY_EXPORTER__JOBS__NODE_CPU__EXPR": "up",
        "ANOMALY_EXPORTER__JOBS__NODE_CPU__STEP": "1s",
        "ANOMALY_EXPORTER__JOBS__NODE_CPU__WINDOW": "5s",
    }
    jobs = {"node-cpu"} | ({"api"} if profile == "stage" else set())
    with server:
        eventually(lambda: queries(server) == jobs)
    assert ("[debug" in server.log.read_text()) == (profile == "dev")
    assert (tmp_path / profile / "state").exists() == (profile == "stage")

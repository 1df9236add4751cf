"""Each optional part is missed by what needs it, in one line that says how to install it, and by nothing else."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import yaml

from deploy.demo.servers import PrometheusServer, backfill, openmetrics
from detectors.units import HOUR, MINUTE
from tests.support.dockerfile import stages
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "airflow": "airflow", "aws": "botocore", "dask": "distributed,dask", "gcp": "google", "kubernetes": "kubernetes",
    "mcp": "mcp", "oauth2": "oauthlib", "otel": "opentelemetry", "plot": "matplotlib", "push": "cramjam",
    "river": "river", "s3": "s3fs", "torch": "torch",
}  # fmt: skip
"""Packages by extra, as they are imported."""
STEP = MINUTE
RUN = (
    "from tests.support.without_extra import hide; hide(['opentelemetry']); from exporter.cli.main import main; main()"
)

# Every command of the documentation by name: the extra that it needs, and its arguments.
COMMANDS = {
    "init": (None, "init --preset node --prometheus-url {url} --out {folder}/new.yml --force"),
    "check-config": (None, "check-config {folder}/anomaly.yml"),
    "check drift_detection": ("river", "check-config {folder}/drift.yml"),
    "check report": ("plot", "check-config {folder}/reports.yml"),
    "check models at s3": ("s3", "check-config {folder}/s3.yml"),
    "check a network": ("torch", "check-config {folder}/network.yml"),
    "check remote_write": ("push", "check-config {folder}/write.yml"),
    "check river": ("river", "check-config {folder}/river.yml"),
    "check sigv4": ("aws", "check-config {folder}/sigv4.yml"),
    "check oauth2": ("oauth2", "check-config {folder}/oauth2.yml"),
    "check google": ("gcp", "check-config {folder}/google.yml"),
    "rules": (None, "rules --config {folder}/anomaly.yml --out {folder}/rules"),
    "backtest": (None, "backtest --config {folder}/anomaly.yml --since 1h"),
    "backtest figures": (None, "backtest --config {folder}/anomaly.yml --job load --since 1h --tune --publish"),
    "backtest files": (None, "backtest --data {folder}/a.csv --detector robust --out {folder}/out"),
    "backtest --plot": ("plot", "backtest --data {folder}/a.csv --detector robust --out {folder}/out --plot"),
    "report --text": (None, "report --config {folder}/anomaly.yml --text --period day"),
    "report --out": ("plot", "report --config {folder}/anomaly.yml --out {folder}/report.html --period day"),
    "train": (None, "train --config {folder}/train.yml --since 5h --backend sequential"),
    "train on dask": (
        "dask",
        "train --config {folder}/train.yml --since 5h --force --backend dask --scheduler tcp://127.0.0.1:1",
    ),
    "models list": (None, "models list --config {folder}/anomaly.yml"),
    "models verify": (None, "models verify --config {folder}/anomaly.yml"),
    "deploy --dry-run": (None, "deploy --config {folder}/deploy.yml --dry-run"),
    "deploy --values": (None, "deploy --config {folder}/deploy.yml --values"),
    "deploy --rbac": (None, "deploy --config {folder}/deploy.yml --rbac"),
    "deploy --apply": ("kubernetes", "deploy --config {folder}/deploy.yml --apply"),
    "deploy --diff": ("kubernetes", "deploy --config {folder}/deploy.yml --diff"),
    "deploy --delete": ("kubernetes", "deploy --config {folder}/deploy.yml --delete"),
    "demo": (None, "demo --replay --for 1s"),
    "mcp": ("mcp", "mcp --config {folder}/anomaly.yml"),
}


def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.fixture(scope="module")
def world(servers, tmp_path_factory):
    """A folder with the files that the commands read, and the Prometheus that they ask."""
    folder = tmp_path_factory.mktemp("extras")
    now = time.time() // STEP * STEP - STEP
    times, rng = np.arange(now - 6 * HOUR, now, STEP), np.random.default_rng(0)
    lines: list[str] = []
    for name in "ab":
        lines += openmetrics("load", {"i": name}, times.tolist(), rng.normal(10, 1, len(times)).tolist())
    lines += openmetrics(
        "anomaly_exporter_series", {"query": "load", "state": "ready"}, times.tolist(), [2.0] * len(times)
    )
    backfill(folder / "prometheus", lines)
    (folder / "a.csv").write_text("timestamp,v\n" + "".join(f"{60 * at},{at % 7}\n" for at in range(300)))
    with PrometheusServer(folder / "prometheus") as server:
        jobs = {
            "load": {"expr": "load", "rate": False},
            "forest": {"channels": {"a": "load", "b": "load * 2"}, "rate": False, "detector": "isolation_forest"},
        }
        common = {
            "prometheus": {"url": server.url},
            "jobs": jobs,
            "models": {"path": str(folder / "models")},
            "state": {"path": str(folder / "state")},
            "audit": {"path": str(folder / "audit.csv")},
        }
        for name, more in {
            "anomaly": {},
            "drift": {"drift_detection": True},
            "reports": {"report": {"path": str(folder)}},
            "s3": {"models": {"url": "s3://bucket/models", "key": {"env": "KEY"}}},
            "network": {"jobs": {"load": {"expr": "load", "detector": "lstm", "history": "1d"}}},
            "write": {"remote_write": {"url": f"{server.url}/api/v1/write"}},
            "river": {"jobs": {"load": {"expr": "load", "detector": "river"}}},
            "sigv4": {"prometheus": {"url": server.url, "sigv4": {"region": "r"}}},
            "oauth2": {
                "prometheus": {
                    "url": server.url,
                    "oauth2": {"client_id": "x", "client_secret": {"env": "KEY"}, "token_url": server.url},
                }
            },
            "google": {"prometheus": {"url": server.url, "google": {}}},
        }.items():
            (folder / f"{name}.yml").write_text(yaml.safe_dump(common | more))
        trained = {"jobs": {"forest": jobs["forest"] | {"step": "5m", "window": "1h"}}, "train": {"holdout": 0.3}}
        (folder / "train.yml").write_text(yaml.safe_dump(common | trained))
        (folder / "deploy.yml").write_text(yaml.safe_dump({"prometheus": {"url": server.url}, "jobs": jobs}))
        yield folder, server.url


LIGHT = ("check-config", "rules", "report --text", "models list", "deploy --dry-run")
"""What is tried without each extra in turn; the other commands are tried without all of them at once."""


def tried(world, hidden: Iterable[str], names: Iterable[str]) -> dict[str, dict]:
    """Run commands where the packages of these extras are not there."""
    folder, url = world
    commands = {name: COMMANDS[name][1].format(folder=folder, url=url).split() for name in names}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.without_extra", ",".join(PACKAGES[extra] for extra in hidden)],
        input=json.dumps(list(commands.values())),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment | {"KUBECONFIG": str(folder / "no-kubeconfig"), "KEY": "0" * 32},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(commands, json.loads(done.stdout), strict=True))


def said_what_to_install(result: dict, extra: str) -> bool:
    lines = (result["stdout"] + result["stderr"]).splitlines()
    said = [line for line in lines if "not installed" in line or "pip install" in line]
    return result["code"] in {1, 2} and len(said) == 1 and f"pip install 'anomaly-exporter[{extra}]'" in said[0]


@pytest.mark.servers
@pytest.mark.slow
def test_without_any_extra_a_command_works_or_says_in_one_line_what_to_install(world):
    for name, result in tried(world, PACKAGES, COMMANDS).items():
        needs, _ = COMMANDS[name]
        assert not result["raised"], (name, result["raised"])
        if needs is None:
            assert result["code"] == 0, (name, result)
            assert "pip install" not in result["stdout"] + result["stderr"], (name, result)
        else:
            assert said_what_to_install(result, needs), (name, result)


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(PACKAGES))
def test_each_extra_is_missed_by_what_needs_it_alone(world, extra):
    missing = [name for name, (needs, _) in COMMANDS.items() if needs == extra]
    for name, result in tried(world, [extra], [*LIGHT, *missing]).items():
        assert not result["raised"], (name, result["raised"])
        assert said_what_to_install(result, extra) if name in missing else result["code"] == 0, (name, result)


@pytest.mark.servers
@pytest.mark.slow
def test_what_needs_an_extra_gets_beyond_that_where_it_is_there(world):
    results = tried(world, [], [name for name, (needs, _) in COMMANDS.items() if needs])
    failing = {name: result["stderr"] + result["stdout"] for name, result in results.items() if result["code"]}
    assert set(failing) == {"train on dask", "deploy --apply", "deploy --diff", "deploy --delete"}, failing
    assert "no Dask scheduler answers" in failing.pop("train on dask")
    assert all("kubeconfig" in said for said in failing.values()), failing


def test_a_running_exporter_with_traces_switched_on_names_the_extra(world):
    folder, _ = world
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", "--config", folder / "anomaly.yml", "--listen", "127.0.0.1:0"],
        env={**os.environ, "OTEL_TRACES_EXPORTER": "otlp"},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=PATIENCE,
    )
    assert done.returncode != 0
    assert "pip install 'anomaly-exporter[otel]'" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_every_extra_is_known_here_and_to_the_reader():
    assert set(PACKAGES) == extras()
    section = (ROOT / "docs" / "install.md").read_text().split("## Optional parts")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == extras()


def test_every_command_of_the_command_line_is_tried():
    from exporter.cli.main import cli

    tried_here = {text.split()[0] for _, text in COMMANDS.values()}
    there = {command.callback.__name__.replace("_", "-") for command in cli.registered_commands}
    assert there - tried_here == {"accept", "related", "run"}, "two only ask a running exporter, one does not end"


def test_the_image_has_every_extra_but_torch_and_airflow():
    [made] = [text for step, text in stages(ROOT / "deploy/docker/Dockerfile")["build"] if text.startswith("EXTRAS=")]
    assert set(made.removeprefix("EXTRAS=").split(",")) == extras() - {"torch", "airflow"}
    listed = re.search(r"^IMAGE_EXTRAS = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(listed[1].split()) == extras() - {"torch", "airflow"}

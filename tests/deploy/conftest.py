"""An emulated cluster, and configurations to deploy."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.kubernetes import Cluster, Settings, settings_of
from exporter.cli.main import cli
from exporter.config.load import load
from tests.support.cluster import CONFIG, NAMESPACE, Emulator, client, emulated, kubeconfig

Planned = Callable[..., Settings]
Deploy = Callable[..., tuple[int, str, str]]
CANARY = "canary-5uP3r-s3cr3t"
"""Part of every secret of these tests, which no output may hold."""


@pytest.fixture
def cluster() -> Iterator[tuple[Emulator, Cluster]]:
    with emulated() as (emulator, url):
        emulator.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield emulator, client(url)


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Return the settings of a configuration: `planned(text, profile=None, **choices)`."""

    def plan(text: str = CONFIG, profile: str | None = None, **choices: Any) -> Settings:
        (tmp_path / "anomaly.yml").write_text(text)
        return settings_of(load(tmp_path / "anomaly.yml", profile, {}), profile, **choices)

    return plan


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Return an emulated cluster that the command reaches by its kubeconfig."""
    with emulated() as (emulator, url):
        (tmp_path / "kubeconfig").write_text(kubeconfig(url, f"{CANARY}-login"))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield emulator


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Run the command: `deploy(text, *arguments)` returns exit code, output, error output."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("MODEL_STORE_KEY", f"{CANARY}-key")
    secret = tmp_path / "secrets" / "token"
    secret.parent.mkdir()
    secret.write_text(f"{CANARY}-token\n")
    outputs = []

    def run(text: str, *arguments: str) -> tuple[int, str, str]:
        config = tmp_path / "anomaly.yml"
        config.write_text(text.replace("/run/secrets/prometheus/token", str(secret)))
        result = CliRunner().invoke(cli, ["deploy", "--config", str(config), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        outputs.append(result.output)
        return result.exit_code, result.stdout, result.stderr

    yield run
    for output in outputs:
        assert CANARY not in output, "row 53: a secret was written"
        assert "Y2FuYXJ5" not in output, "row 53: a secret was written in base64"
        assert "Traceback" not in output

"""The image: linted, and its steps run in a clean folder, since no engine is needed for that."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.demo.servers import ExporterServer, PrometheusServer
from deploy.kubernetes.settings import CONFIG, DATA, UID
from tests.support.dockerfile import ROOT, run, stages

FILE = ROOT / "deploy" / "docker" / "Dockerfile"
STAGES = stages(FILE)
TAGGED = "9.8.7"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """The folder in which the stage `build` was run."""
    run(STAGES["build"], tmp_path, VERSION=TAGGED)
    return tmp_path


def value(stage: str, instruction: str) -> str:
    [text] = [text for found, text in STAGES[stage] if found == instruction]
    return text


def exporter(built: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run the installed command, with nothing of this repository or its environment in reach."""
    return subprocess.run(
        [built / "venv/bin/anomaly-exporter", *arguments],
        cwd=built,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_the_dockerfile_passes_hadolint() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.servers
def test_its_health_check_tells_a_page_from_none(shared_prometheus: PrometheusServer, tmp_path: Path) -> None:
    _, _, command = value("base", "HEALTHCHECK").partition("CMD ")
    [python, *arguments] = json.loads(command)
    assert python == "python"

    def healthy(port: int) -> bool:
        here = [argument.replace("9877", str(port)) for argument in arguments]
        return subprocess.run([sys.executable, *here], capture_output=True, check=False).returncode == 0

    config = {"prometheus": {"url": shared_prometheus.url}, "jobs": {"up": {"expr": "up"}}}
    with ExporterServer(tmp_path, config) as server:
        assert healthy(server.port)
    assert not healthy(server.port)


def holds_the_pinned_versions_and_no_tool_to_build_with(built: Path) -> None:
    listed = subprocess.run(
        [built / "python/bin/uv", "pip", "list", "--format", "freeze", "--python", built / "venv/bin/python"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    pinned = {line.partition(" ;")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert [line for line in listed if line not in pinned and not line.startswith("anomaly-exporter==")] == []
    names = {line.partition("==")[0] for line in listed}
    assert {"s3fs", "distributed", "opentelemetry-sdk", "matplotlib", "kubernetes", "river"} <= names
    assert not {"pip", "setuptools", "wheel", "uv", "hatchling", "torch", "pytest"} & names


def is_one_package_that_others_of_its_names_do_not_disturb(built: Path, packages: Path) -> None:
    [record] = packages.glob("anomaly_exporter-*.dist-info/RECORD")
    tops = {line.partition("/")[0] for line in record.read_text().splitlines() if not line.startswith("..")}
    assert tops == {"anomaly_exporter", record.parent.name}
    for name in ("exporter", "detectors", "rules", "deploy", "dags"):
        (packages / name).mkdir()
        (packages / name / "__init__.py").write_text("raise SystemExit('somebody else's')")
    done = exporter(built, "backtest", "--data", "a.csv", "--detector", "robust", "--out", "again")
    assert done.returncode == 0, done.stderr
    module = [built / "venv/bin/python", "-I", "-m", "anomaly_exporter", "--version"]
    assert subprocess.run(module, capture_output=True, check=True, text=True).stdout.strip() == TAGGED


@pytest.mark.slow
def test_its_steps_make_an_exporter_in_a_clean_folder(built: Path) -> None:
    """The wheel is built, installed with the pinned versions, and works on its own."""
    assert exporter(built, "--version").stdout.strip() == TAGGED
    shutil.copy(ROOT / "examples/anomaly.yml", built)
    done = exporter(built, "check-config", "anomaly.yml")
    assert done.returncode == 0, done.stderr
    assert "2 jobs" in done.stdout
    done = exporter(built, "rules", "--config", "anomaly.yml", "--out", "generated")
    assert done.returncode == 0, done.stderr
    assert (built / "generated/alertmanager.yml").is_file()
    for output in ("--dry-run", "--values"):
        done = exporter(built, "deploy", "--config", "anomaly.yml", output)
        assert done.returncode == 0, done.stderr
    (built / "a.csv").write_text("timestamp,v\n" + "".join(f"{60 * at},{at % 7}\n" for at in range(90)))
    done = exporter(built, "backtest", "--data", "a.csv", "--detector", "robust", "--out", "out", "--plot")
    assert done.returncode == 0, done.stderr
    [packages] = (built / "venv/lib").glob("python3*/site-packages")
    for part in ("static", "templates"):
        installed = packages / "anomaly_exporter/parts/exporter/web/ui" / part
        assert {each.name for each in installed.iterdir()} == {
            each.name for each in (ROOT / "exporter/web/ui" / part).iterdir()
        }
    is_one_package_that_others_of_its_names_do_not_disturb(built, packages)
    holds_the_pinned_versions_and_no_tool_to_build_with(built)


def test_the_result_is_made_of_the_slim_base_and_the_environment_alone() -> None:
    for stage, origin in (("exporter", "build"), ("torch", "build-torch")):
        assert STAGES[stage] == [("FROM", f"base AS {stage}"), ("COPY", f"--from={origin} /venv /venv")]
    assert value("base", "FROM") == value("build", "FROM").replace("build", "base")
    assert "-slim-" in STAGES[""][0][1]
    assert list(STAGES)[-1] == "exporter", "the last stage is what is built by default"
    assert "uninstall --yes pip setuptools wheel" in value("base", "RUN")


def test_the_target_with_torch_differs_by_torch_alone_without_cuda() -> None:
    base, added = STAGES["build-torch"]
    assert base == ("FROM", "build AS build-torch")
    assert added[0] == "RUN"
    assert "--torch-backend cpu" in added[1]
    assert "--constraint constraints.txt" in added[1]
    assert "[torch]" in added[1]


def test_it_runs_as_the_user_and_in_the_folders_that_the_pods_have() -> None:
    assert value("base", "USER") == f"{UID}:{UID}"
    assert value("base", "WORKDIR") == DATA
    # A folder that nobody mounts would be a new, nameless volume with every container: its files look kept and are not.
    assert "VOLUME" not in dict(STAGES["base"])
    assert f"--owner={UID} --group={UID}" in value("base", "RUN")
    assert f"ANOMALY_EXPORTER_CONFIG={CONFIG}/anomaly.yml" in value("base", "ENV")
    assert "/-/healthy" in value("base", "HEALTHCHECK")
    assert "org.opencontainers.image.version" in value("base", "LABEL")


def test_only_what_is_copied_is_sent_to_the_engine() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {source for step, text in STAGES["build"] if step == "COPY" for source in text.split()[:-1]}
    assert lines[0] == "*"
    assert copied == sent

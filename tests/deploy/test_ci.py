"""The pipelines: valid, equal, pinned, with the least rights."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github" / "workflows" / "ci.yml"
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
GITLAB = ROOT / ".gitlab-ci.yml"
TARGETS = {"lint", "coverage", "audit", "docs", "build", "rules", "chart", "image", "fuzz"}
PUBLISHING = {"contents": "write", "packages": "write", "id-token": "write", "attestations": "write"}
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
BOTH = pytest.mark.parametrize("path", [GITHUB, RELEASE], ids=lambda path: path.stem)


def workflow(path: Path = GITHUB) -> dict:
    return yaml.safe_load(path.read_text())


def steps(path: Path) -> list[dict]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def gitlab_jobs() -> dict:
    made = yaml.safe_load(GITLAB.read_text())
    return {name: job for name, job in made.items() if isinstance(job, dict) and "script" in job}


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", GITHUB),
        ("github-workflows", RELEASE),
        ("gitlab-ci", GITLAB),
        ("dependabot", ROOT / ".github" / "dependabot.yml"),
        *(("github-issue-forms", form) for form in FORMS),
    ],
)
def test_the_pipelines_are_valid(schema: str, file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_both_run_the_same_targets_of_the_makefile() -> None:
    [job] = workflow()["jobs"].values()
    assert set(job["strategy"]["matrix"]["target"]) == TARGETS
    assert {one["target"] for one in job["strategy"]["matrix"]["include"]} == {"test"}
    assert {step["run"] for step in job["steps"] if "run" in step} == {'make "$TARGET"'}
    assert {command for job in gitlab_jobs().values() for command in job["script"]} == {
        f"make {one}" for one in {*TARGETS, "test"}
    }
    for target in {*TARGETS, "test", "sbom"}:
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_tests_run_on_every_python_that_is_promised() -> None:
    [job] = workflow()["jobs"].values()
    matrix = job["strategy"]["matrix"]
    versions = {*matrix["python"], *(one["python"] for one in matrix["include"])}
    assert versions == {"3.11", "3.12", "3.13", "3.14"}
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == ">=3.11"
    assert set(gitlab_jobs()["test"]["parallel"]["matrix"][0]["PYTHON_VERSION"]) == versions - {"3.11"}


def test_both_use_the_python_of_the_image() -> None:
    [job] = workflow()["jobs"].values()
    [version] = job["strategy"]["matrix"]["python"]
    assert yaml.safe_load(GITLAB.read_text())["default"]["image"] == f"python:{version}-bookworm"
    assert f"ARG PYTHON={version}-slim-bookworm" in (ROOT / "deploy/docker/Dockerfile").read_text()


@BOTH
def test_actions_are_pinned_to_a_commit_and_nothing_from_outside_is_a_command(path: Path) -> None:
    uses = [step["uses"] for step in steps(path) if "uses" in step]
    assert uses
    assert [one for one in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []
    checkouts = [step for step in steps(path) if "checkout" in step.get("uses", "")]
    assert all(checkout["with"]["persist-credentials"] is False for checkout in checkouts)
    assert all(job["timeout-minutes"] <= 60 for job in workflow(path)["jobs"].values())
    assert "pull_request_target" not in path.read_text()
    scripts = [step["run"] for step in steps(path) if "run" in step]
    assert not any("${{" in script for script in scripts), "a name from outside would be run as a command"


@BOTH
def test_rights_are_the_least(path: Path) -> None:
    assert workflow(path)["permissions"] == {}
    rights = {name: job["permissions"] for name, job in workflow(path)["jobs"].items()}
    assert rights.pop("publish", PUBLISHING) == PUBLISHING
    assert all(right == {"contents": "read"} for right in rights.values())


def test_zizmor_finds_nothing() -> None:
    command = [Path(sys.executable).parent / "zizmor", "--offline", "--quiet", ".github"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_release_publishes_only_what_was_built_without_rights() -> None:
    jobs = workflow(RELEASE)["jobs"]
    assert jobs["publish"]["needs"] == "build"
    made = [step["run"].split()[1] for step in jobs["build"]["steps"] if step.get("run", "").startswith("make")]
    assert made == ["lint", "version", "build", "chart", "sbom"]
    assert not any("make" in step.get("run", "") for step in jobs["publish"]["steps"])


def test_the_hooks_before_a_commit_are_the_checks_of_make_lint() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    dry = subprocess.run(["make", "--dry-run", "lint"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for hook in repository["hooks"]:
        command = hook["entry"].split()[0]
        assert (Path(sys.executable).parent / Path(command).name).exists()
        if hook["id"] != "lint-imports":  # which tests/test_architecture.py runs
            assert Path(command).name in dry


def test_the_check_of_rules_fails_where_a_rule_is_wrong(tmp_path: Path) -> None:
    """`.ci/rules` ends with the exit code of the first tool that complains."""
    script = ROOT / ".ci" / "rules"
    for command in ("promtool", "amtool"):
        (tmp_path / command).write_text(f"#!/bin/sh\n[ {command} != promtool ]\n")
        (tmp_path / command).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([script, "examples/anomaly.yml@dev"], env=environment, capture_output=True, check=False)
    assert done.returncode != 0


def test_a_tag_gives_the_version_to_all_that_tells_it(tmp_path: Path) -> None:
    for name in ("exporter", "deploy", "rules", "detectors", "Makefile", "pyproject.toml", "constraints.txt", ".ci"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "env" / "ready").touch()

    def version(given: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "version", f"VERSION={given}", "VENV=env"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    refused = version("next; true")
    assert refused.returncode != 0
    assert "three numbers" in refused.stdout
    done = version("9.8.7")
    assert done.returncode == 0, done.stderr
    assert '__version__ = "9.8.7"' in (tmp_path / "exporter/__init__.py").read_text()
    chart = yaml.safe_load((tmp_path / "deploy/chart/anomaly-exporter/Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == "9.8.7"
    assert "image: anomaly-exporter:9.8.7" in (tmp_path / "deploy/manifests/anomaly-exporter.yaml").read_text()

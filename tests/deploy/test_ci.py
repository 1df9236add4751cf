"""The pipelines: valid, equal, pinned, with the least rights."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github" / "workflows" / "ci.yml"
GITLAB = ROOT / ".gitlab-ci.yml"
TARGETS = {"lint", "test", "build", "rules", "chart", "image"}


def workflow() -> dict:
    return yaml.safe_load(GITHUB.read_text())


def gitlab_jobs() -> dict:
    made = yaml.safe_load(GITLAB.read_text())
    return {name: job for name, job in made.items() if isinstance(job, dict) and "script" in job}


@pytest.mark.parametrize(("schema", "file"), [("vendor.github-workflows", GITHUB), ("vendor.gitlab-ci", GITLAB)])
def test_the_pipelines_are_valid(schema: str, file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_both_run_the_same_targets_of_the_makefile() -> None:
    [job] = workflow()["jobs"].values()
    assert set(job["strategy"]["matrix"]["target"]) == TARGETS
    assert {step["run"] for step in job["steps"] if "run" in step} == {'make "$TARGET"'}
    assert {command for job in gitlab_jobs().values() for command in job["script"]} == {
        f"make {one}" for one in TARGETS
    }
    for target in TARGETS:
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_both_use_the_python_of_the_image() -> None:
    [job] = workflow()["jobs"].values()
    [version] = job["strategy"]["matrix"]["python"]
    assert yaml.safe_load(GITLAB.read_text())["default"]["image"] == f"python:{version}-bookworm"
    assert f"ARG PYTHON={version}-slim-bookworm" in (ROOT / "deploy/docker/Dockerfile").read_text()


def test_actions_are_pinned_to_a_commit_and_rights_are_the_least() -> None:
    made = workflow()
    uses = [step["uses"] for job in made["jobs"].values() for step in job["steps"] if "uses" in step]
    assert uses
    assert [one for one in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []
    assert made["permissions"] == {"contents": "read"}
    [checkout] = [step for step in made["jobs"]["make"]["steps"] if "checkout" in step.get("uses", "")]
    assert checkout["with"]["persist-credentials"] is False
    assert all("permissions" not in job and job["timeout-minutes"] <= 60 for job in made["jobs"].values())
    assert "pull_request_target" not in GITHUB.read_text()
    scripts = [step["run"] for job in made["jobs"].values() for step in job["steps"] if "run" in step]
    assert not any("${{" in script for script in scripts), "a name from outside would be run as a command"


def test_the_check_of_rules_fails_where_a_rule_is_wrong(tmp_path: Path) -> None:
    """`.ci/rules` ends with the exit code of the first tool that complains."""
    script = ROOT / ".ci" / "rules"
    for command in ("promtool", "amtool"):
        (tmp_path / command).write_text(f"#!/bin/sh\n[ {command} != promtool ]\n")
        (tmp_path / command).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([script, "examples/anomaly.yml@dev"], env=environment, capture_output=True, check=False)
    assert done.returncode != 0

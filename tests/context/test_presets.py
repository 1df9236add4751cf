"""What the presets take for a deploy, evaluated by promtool: the real PromQL."""

import subprocess
from pathlib import Path

import pytest
import yaml

from exporter.context.presets import PRESETS

MINUTES = 150


def deploys_at(
    folder: Path, preset: str, series: dict[str, str], minutes: range = range(60, MINUTES)
) -> dict[int, int]:
    """Return in which minutes a preset tells how many deploys.

    promtool says of an expectation only whether it holds: it is told that nothing is there, and what it found is read.
    """
    checks = [{"expr": f"count({PRESETS[preset].expr})", "eval_time": f"{at}m", "exp_samples": []} for at in minutes]
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": given, "promql_expr_test": checks}],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[int, int] = {}
    minute = None
    for line in (done.stdout + done.stderr).splitlines():
        text = line.strip()
        if text.startswith("expr:"):
            minute = next(at for at in minutes if f"time: {_written(at)}," in text)
        elif text.startswith("got: {} ") and minute is not None:
            found[minute] = int(float(text.removeprefix("got: {} ")))
    assert done.returncode == (1 if found else 0), done.stdout + done.stderr
    return found


def _written(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return "".join(f"{count}{unit}" for count, unit in ((hours, "h"), (rest, "m")) if count)


def build(version: str, instance: str = "a", **labels: str) -> str:
    named = {"job": "cart", "instance": instance, "version": version, **labels}
    return "cart_build_info{" + ",".join(f'{name}="{value}"' for name, value in named.items()) + "}"


pytestmark = pytest.mark.servers


def test_another_version_is_a_deploy_and_an_instance_more_is_none(tmp_path: Path) -> None:
    rolled = {
        build("v1", "a"): "1x79 stale", build("v2", "a"): "_x79 1x80", build("v1", "b"): "1x84 stale",
        build("v2", "b"): "_x84 1x80", build("v2", "c"): "_x110 1x80",
    }  # fmt: skip
    assert deploys_at(tmp_path, "build_info", rolled) == {79: 1}


def test_going_back_is_a_deploy(tmp_path: Path) -> None:
    back = {build("v1"): "1x79 stale _x14 1x90", build("v2"): "_x79 1x14 stale"}
    assert set(deploys_at(tmp_path, "build_info", back)) == {79, 95}


@pytest.mark.parametrize("gap", [2, 6, 14, 50])
def test_a_scrape_that_fails_is_no_deploy(tmp_path: Path, gap: int) -> None:
    assert deploys_at(tmp_path, "build_info", {build("v1"): f"1x79 stale _x{gap} 1x90"}) == {}


def test_a_version_after_a_quarter_of_an_hour_without_any_is_a_deploy(tmp_path: Path) -> None:
    assert deploys_at(tmp_path, "build_info", {build("v1"): "1x79 stale", build("v2"): "_x94 1x90"}) == {94: 1}


def test_the_version_of_the_compiler_alone_is_none(tmp_path: Path) -> None:
    go = 'go_build_info{job="cart",instance="a",version="%s"}'
    assert deploys_at(tmp_path, "build_info", {go % "v1": "1x79 stale", go % "v2": "_x79 1x90"}) == {}


START = 'process_start_time_seconds{job="cart",instance="%s"}'


def test_a_crash_loop_is_no_deploy_nor_is_one_crashed_process(tmp_path: Path) -> None:
    loop = {START % "a": "100x79 " + " ".join(f"{200 + at}x2" for at in range(30)), START % "b": "100x150"}
    assert deploys_at(tmp_path, "process", loop) == {}
    every = {START % name: "100x79 " + " ".join(f"{200 + at}x2" for at in range(30)) for name in "ab"}
    assert len(deploys_at(tmp_path, "process", every)) <= 1
    assert deploys_at(tmp_path, "process", {START % "a": "100x79 300x80"}) == {}


def test_all_processes_started_again_once_are_a_deploy_unless_their_version_is_known(tmp_path: Path) -> None:
    rolled = {START % "a": "100x79 300x80", START % "b": "100x82 320x80"}
    assert deploys_at(tmp_path, "process", rolled) == {83: 1}
    assert deploys_at(tmp_path, "process", rolled | {build("v1", "a"): "1x150", build("v1", "b"): "1x150"}) == {}
    failed = {START % name: "100x79 stale _x14 100x80" for name in "ab"}
    assert deploys_at(tmp_path, "process", failed) == {}


STATE = 'kube_deployment_%s{job="ksm",instance="%s",namespace="shop",deployment="cart"}'


def test_a_generation_is_a_deploy_but_not_when_only_the_number_of_replicas_has_changed(tmp_path: Path) -> None:
    seen, wanted = "status_observed_generation", "spec_replicas"
    assert deploys_at(
        tmp_path, "kubernetes",
        {STATE % (seen, "a"): "4x79 5x80", STATE % (wanted, "a"): "3x150"},
    ) == {80: 1}  # fmt: skip
    assert deploys_at(
        tmp_path, "kubernetes",
        {STATE % (seen, "a"): "4x79 5x20 6x80", STATE % (wanted, "a"): "3x79 5x20 3x80"},
    ) == {}  # fmt: skip
    moved = {STATE % (seen, "a"): "4x79 stale", STATE % (seen, "b"): "_x82 4x80"}
    assert deploys_at(tmp_path, "kubernetes", moved) == {}


def test_a_sync_and_another_revision_are_deploys(tmp_path: Path) -> None:
    sync = 'argocd_app_sync_total{name="cart",phase="%s",namespace="argocd",job="argo",instance="a"}'
    assert deploys_at(tmp_path, "argocd", {sync % "Succeeded": "1x79 2x80", sync % "Failed": "0x99 1x50"}) == {80: 1}
    kind = 'gotk_resource_info{name="cart",exported_namespace="shop",revision="%s",ready="True",job="flux"}'
    assert deploys_at(tmp_path, "flux", {kind % "main@sha1:a": "1x79 stale", kind % "main@sha1:b": "_x79 1x80"}) == {
        79: 1
    }

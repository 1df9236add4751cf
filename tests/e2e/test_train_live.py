"""From the samples to the model in the running exporter: train, look, go back."""

import json
import subprocess
import sys
import time

import pytest

from deploy.demo.servers import openmetrics
from tests.e2e.conftest import Page, soon
from tests.e2e.test_end_to_end import QUICK, config, watching
from tests.support.waiting import eventually

pytestmark = pytest.mark.servers


def _history(seconds=900):
    now = time.time()
    times = [now - seconds + n for n in range(seconds - 1)]
    for name in "ab":
        labels = {"name": name, "instance": "target", "job": "target"}
        yield from openmetrics("level", labels, times, [10 + 0.1 * (n * n % 7) for n in range(len(times))])


def _command(ours, *arguments):
    command = [sys.executable, "-m", "exporter", *arguments, "--config", str(ours.directory / "anomaly.yml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _version(ours):
    found = [dict(labels)["version"] for labels in Page(ours.url).get("anomaly_exporter_model_info", query="level")]
    return found[0] if found else None


def test_a_trained_model_is_in_service_without_a_restart_and_one_command_takes_it_back(
    prometheus, exporter, target, tmp_path
):
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=_history())
    source.wait_for("level")
    jobs = {"level": {"expr": "level", "detector": "robust", **QUICK}}
    ours = exporter(config(source, jobs, models={"path": str(tmp_path / "models")}))
    eventually(lambda: (Page(ours.url).one("anomaly_score", name="a") or 9) < 1)
    promoted = []
    for _ in range(2):
        done = _command(ours, "train", "--force", "--since", "15m")
        assert done.returncode == 0, done.stdout + done.stderr
        line = json.loads(done.stdout)
        assert line["outcome"] == "promoted"
        assert line["figures"]["faults"] == line["figures"]["faults_found"] > 0
        soon(ours.url, "level", lambda wanted=line["version"]: _version(ours) == wanted)
        promoted.append(line["version"])
    page = Page(ours.url)
    assert page.one("anomaly_exporter_train_outcome", query="level", outcome="promoted") == 1
    assert page.one("anomaly_score", name="a") < 1
    assert _command(ours, "models", "rollback", "--job", "level").returncode == 0
    soon(ours.url, "level", lambda: _version(ours) == promoted[0])
    assert "Traceback" not in ours.log.read_text()

"""The exporter runs as its pod says: user 65534, a root that cannot be written, no capabilities (row 52)."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.demo.process import free_port, get
from deploy.kubernetes import objects
from tests.support.sandbox import Sandbox, missing

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(missing()), reason=missing() or "can be done"),
]

CONFIG = """
prometheus: {{url: "{url}", bearer: {{file: /run/secrets/prometheus/token}}}}
models: {{path: models, key: {{env: MODEL_STORE_KEY}}}}
state: {{path: state, every: 1s}}
audit: {{path: anomalies.csv, all_samples: true}}
jobs:
  scrape: {{expr: scrape_duration_seconds, step: 1s, window: 10s, history: 10s, detector: {{robust: {{}}}}}}
"""
WRITE = """
import os
for folder, folders, _ in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/dev")]
    try:
        with open(os.path.join(folder, ".written"), "w") as file:
            print(folder)
            folders.clear()
        os.unlink(file.name)
    except OSError:
        pass
"""


@pytest.fixture
def sandbox(planned, tmp_path, shared_prometheus):
    text = CONFIG.format(url=shared_prometheus.url)
    made = planned(text)
    (deployment,) = [each for each in objects(made) if each["kind"] == "Deployment"]
    sandbox = Sandbox(tmp_path / "pod", deployment["spec"]["template"]["spec"])
    (sandbox.volume("config") / "anomaly.yml").write_text(text)
    (sandbox.volume("secrets-0") / "token").write_text("token")
    return sandbox


def done(process, within=60.0):
    output, error = process.communicate(timeout=within)
    assert process.returncode == 0, error
    return output


def test_the_exporter_judges_saves_and_stops_where_only_its_volumes_can_be_written__row_52(sandbox, tmp_path):
    port = free_port()
    container = sandbox.container
    command = (*container["command"], *container["args"], "--listen", f"127.0.0.1:{port}")
    with (tmp_path / "log").open("w") as log:
        process = sandbox.popen(*command, secrets={"MODEL_STORE_KEY": "canary-key"}, stderr=log, stdout=log)
    try:
        probe = container["readinessProbe"]["httpGet"]["path"]
        assert until(lambda: get(f"http://127.0.0.1:{port}{probe}").ok, process), (tmp_path / "log").read_text()
        assert "anomaly_score{" in get(f"http://127.0.0.1:{port}/metrics").text
        saved = sandbox.volume("data") / "state"
        assert until(lambda: list(saved.glob("*.state")), process), (tmp_path / "log").read_text()
        audit = sandbox.volume("data") / "anomalies.csv"
        assert until(lambda: audit.stat().st_uid == 65534, process), (tmp_path / "log").read_text()
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    finally:
        process.terminate()
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    log_text = (tmp_path / "log").read_text()
    assert '"level": "error"' not in log_text
    assert "canary-key" not in log_text


def test_only_the_volumes_and_tmp_can_be_written__row_52(sandbox):
    written = done(sandbox.popen(sys.executable, "-c", WRITE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert sorted(written.split()) == ["/tmp", "/var/lib/anomaly-exporter"]


def test_training_can_spread_over_processes_there__row_52(sandbox):
    program = "from joblib import Parallel, delayed; print(Parallel(2, 'loky')(delayed(abs)(i) for i in (-1, -2)))"
    made = sandbox.popen(sys.executable, "-W", "error", "-c", program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done(made) == "[1, 2]\n"


def until(ask, process, within=60.0):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if found := ask():
                return found
        except OSError:
            pass
        time.sleep(0.2)
    return None

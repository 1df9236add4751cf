"""The exporter runs as its pod says: user 65532, a root that cannot be written, no capabilities (row 52)."""

import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.demo.process import free_port, get
from deploy.kubernetes import objects
from tests.support.sandbox import Sandbox, missing
from tests.support.waiting import PATIENCE, eventually

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(missing()), reason=missing() or "can be done"),
]

KEY = {"MODEL_STORE_KEY": "canary-key"}
CONFIG = """
prometheus: {{url: "{url}", bearer: {{file: /run/secrets/prometheus/token}}}}
models: {{path: models, key: {{env: MODEL_STORE_KEY}}}}
state: {{path: state, every: 1s}}
audit: {{path: anomalies.csv, all_samples: true}}
jobs:
  scrape: {{expr: scrape_duration_seconds, step: 1s, window: 10s, history: 10s, detector: {{robust: {{}}}}}}
"""
TRAINED = """
prometheus: {{url: "{url}"}}
models: {{path: models, key: {{env: MODEL_STORE_KEY}}}}
state: {{path: state}}
jobs:
  load: {{expr: load, entity: [instance], rate: false, step: 10m, window: 10h, detector: {{robust: {{}}}}}}
train: {{window: 4d}}
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


def done(process):
    output, error = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, error
    return output


class Running:
    """The container's command, serving on loopback; what it has logged is told when something is missing."""

    def __init__(self, sandbox, log):
        self.sandbox, self.log, self.port = sandbox, log, free_port()

    def __enter__(self):
        command = (*self.sandbox.container["command"], *self.sandbox.container["args"])
        with self.log.open("w") as log:
            self.process = self.sandbox.popen(
                *command, "--listen", f"127.0.0.1:{self.port}", secrets=KEY, stderr=log, stdout=log
            )
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()
        assert '"level": "error"' not in self.log.read_text()
        assert KEY["MODEL_STORE_KEY"] not in self.log.read_text()

    def get(self, path):
        return get(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE)

    def wait_for(self, ask):
        def asked():
            assert self.process.poll() is None, self.log.read_text()
            try:
                return ask()
            except OSError:  # it does not listen yet, or the file is not there yet
                return None

        eventually(asked)


def test_the_exporter_judges_saves_and_stops_where_only_its_volumes_can_be_written__row_52(sandbox, tmp_path):
    data = sandbox.volume("data")
    with Running(sandbox, tmp_path / "log") as exporter:
        exporter.wait_for(lambda: exporter.get(sandbox.container["readinessProbe"]["httpGet"]["path"]).ok)
        assert "anomaly_score{" in exporter.get("/metrics").text
        exporter.wait_for(lambda: list((data / "state").glob("*.state")))
        exporter.wait_for(lambda: (data / "anomalies.csv").stat().st_uid == 65532)
        status = Path(f"/proc/{exporter.process.pid}/status").read_text()
        assert re.search(r"^Uid:\t65532\t65532\t65532\t65532$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)


def test_only_the_volumes_and_tmp_can_be_written__row_52(sandbox):
    written = done(sandbox.popen(sys.executable, "-c", WRITE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert sorted(written.split()) == ["/tmp", "/var/lib/anomaly-exporter"]


def test_training_can_spread_over_processes_there__row_52(sandbox):
    program = "from joblib import Parallel, delayed; print(Parallel(2, 'loky')(delayed(abs)(i) for i in (-1, -2)))"
    made = sandbox.popen(sys.executable, "-W", "error", "-c", program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done(made) == "[1, 2]\n"


def test_what_the_training_pod_puts_in_service_the_exporter_pod_takes_over__row_52(planned, prometheus, tmp_path):
    end = time.time() // 600 * 600
    lines = [
        f'load{{instance="{name}"}} {100 + 30 * math.sin(number / 23) + (number * 7919 + ord(name)) % 13:.3f} '
        f"{end - 600 * number:.0f}"
        for name in "abc"
        for number in range(600, -1, -1)
    ]
    server = prometheus(history=["# TYPE load gauge", *lines])
    text = TRAINED.format(url=server.url)
    pods = {each["kind"]: each.get("spec", {}) for each in objects(planned(text))}
    train = Sandbox(tmp_path / "train", pods["CronJob"]["jobTemplate"]["spec"]["template"]["spec"])
    (train.volume("config") / "anomaly.yml").write_text(text)
    output = done(train.popen(secrets=KEY, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    (told,) = map(json.loads, output.splitlines())
    assert told["outcome"] == "promoted", told
    sandbox = Sandbox(tmp_path / "exporter", pods["Deployment"]["template"]["spec"])
    (sandbox.volume("config") / "anomaly.yml").write_text(text)
    sandbox.volume("models").rmdir()
    train.volume("models").rename(sandbox.folder / "models")
    with Running(sandbox, tmp_path / "log") as exporter:
        exporter.wait_for(lambda: f'version="{told["version"]}"' in exporter.get("/metrics").text)

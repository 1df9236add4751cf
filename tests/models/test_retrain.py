"""A drift asks for a new model, once a job and in a file that survives; it never fits one by itself."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import structlog

from exporter.config.load import ConfigError, load
from exporter.config.sections.job import DriftConfig, drift_settings
from exporter.config.sections.models import ModelsConfig
from exporter.config.sections.root import Config
from exporter.models.backend import FolderBackend, place_of
from exporter.models.retrain_requests import RetrainFolder, RetrainRequest
from exporter.pipeline.drift import Drift
from exporter.sinks.drift_requests import DriftRequests
from tests.pipeline.test_cycle import Bench
from tests.support.runners import runner_of


def request(job="cpu", time=1.0):
    return RetrainRequest(job=job, detector="robust", method="adwin", reason="why", time=time, statistics={"now": 0.5})


def test_a_request_is_read_as_written_and_taken_once(tmp_path):
    folder = RetrainFolder(FolderBackend(tmp_path / "not there yet"))
    assert folder.read("cpu") is None
    file = folder.write(request())
    assert json.loads(Path(file).read_text())["reason"] == "why"
    assert folder.read("cpu") == request()
    assert folder.read("other") is None
    assert folder.consume(request())
    assert folder.read("cpu") is None
    assert not folder.consume(request())


def test_a_request_reaches_a_training_elsewhere_through_an_object_store():
    folder = RetrainFolder(place_of(ModelsConfig(url="memory://retrain/models")))
    assert folder.read("cpu") is None
    assert folder.write(request()).startswith("memory://retrain/models/.retrain/cpu")
    elsewhere = RetrainFolder(place_of(ModelsConfig(url="memory://retrain/models")))
    assert elsewhere.read("cpu") == request()
    assert elsewhere.consume(request())
    assert folder.read("cpu") is None


def test_a_newer_request_takes_the_place_of_the_older_and_is_not_taken_for_it(tmp_path):
    folder = RetrainFolder(FolderBackend(tmp_path))
    folder.write(request(time=1.0))
    taken = folder.read("cpu")
    folder.write(request(time=2.0))  # while the training runs
    assert not folder.consume(taken)
    assert folder.read("cpu").time == 2.0
    assert len(list(tmp_path.glob(".retrain/*"))) == 1


def test_jobs_with_odd_names_do_not_share_a_file(tmp_path):
    folder, names = RetrainFolder(FolderBackend(tmp_path)), ["a:b", "a.b", "A", "a"]
    for name in names:
        folder.write(request(job=name))
    assert [folder.read(name).job for name in names] == names


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"job": 1}', b"\xff", b"{}" + b" " * 70_000])
def test_a_damaged_request_is_said_and_left_alone(tmp_path, content):
    """Row 25."""
    folder = RetrainFolder(FolderBackend(tmp_path))
    folder.write(request())
    (file,) = tmp_path.glob(".retrain/*")
    file.write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        assert folder.read("cpu") is None
    assert logs[0]["event"] == "retrain_request_unreadable"
    assert logs[0]["job"] == "cpu"
    assert file.read_bytes() == content


def test_a_reader_never_sees_half_a_request(tmp_path):
    """Row 24."""
    folder, stop = RetrainFolder(FolderBackend(tmp_path)), threading.Event()
    folder.write(request())

    def rewrite():
        time = 0.0
        while not stop.is_set():
            time += 1
            folder.write(request(time=time))

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        assert all(folder.read("cpu") is not None for _ in range(500))
    finally:
        stop.set()
        writer.join()


def judged_with_drift(bench, folder=None):
    requests = DriftRequests(bench.metrics)
    requests.write_to(folder)
    runner = runner_of(bench, drift_requests=requests)
    bench.job.watch_drift(DriftConfig())
    runner.cycle(50 * 60.0)
    bench.job.learnt.drift.see = lambda score, time: Drift("adwin", 400, 0.2, 0.4)
    fits = []
    bench.job.model.detector.fit = fits.append
    with structlog.testing.capture_logs() as logs:
        runner.cycle(51 * 60.0)
    assert not fits
    return logs


def test_drift_is_counted_logged_and_asked_about_but_nothing_is_fitted(tmp_path):
    bench = Bench(detector="robust")
    bench.put("a", range(100))
    logs = judged_with_drift(bench, RetrainFolder(FolderBackend(tmp_path)))
    assert bench.sample("drift_events_total", detector="robust", method="adwin") == 1
    found = RetrainFolder(FolderBackend(tmp_path)).read("job")
    assert (found.job, found.detector, found.method, found.time) == ("job", "robust", "adwin", 51 * 60.0)
    assert found.statistics == {"before": 0.2, "now": 0.4, "hours": 400.0}
    [line] = [line for line in logs if line["event"] == "drift"]
    assert "is 0.400, in the 376 hours before it was 0.200" in line["why"] == found.reason


def test_a_folder_that_cannot_be_written_is_said_and_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    bench = Bench(detector="robust")
    bench.put("a", range(100))
    logs = judged_with_drift(bench, RetrainFolder(FolderBackend(tmp_path / "file" / "x")))
    assert [line["job"] for line in logs if line["event"] == "retrain_request_failed"] == ["job"]
    assert bench.sample("cycles_total", outcome="success") == 2
    assert np.isfinite(bench.job.judged)


def loaded(tmp_path, text):
    file = tmp_path / "anomaly.yml"
    file.write_text(text)
    return load(file, None, {})


@pytest.mark.parametrize(
    ("every", "job", "method"),
    [
        ("true", "", "adwin"),
        ("{method: ddm}", "", "ddm"),
        ("true", ", drift_detection: false", None),
        ("false", ", drift_detection: {delta: 0.01}", "adwin"),
        ("{method: ddm}", ", drift_detection: true", "adwin"),
        ("false", "", None),
    ],
)
def test_a_job_may_say_otherwise_than_the_whole(tmp_path, every, job, method):
    text = f"drift_detection: {every}\njobs: {{a: {{expr: up{job}}}}}\n"
    config = loaded(tmp_path, text).config
    found = drift_settings(config.jobs["a"].drift_detection, config.drift_detection)
    assert (found and found.method) == method


def test_requests_lie_beside_the_models_or_else_the_states(tmp_path):
    jobs = "jobs: {a: {expr: up}}\ndrift_detection: true\n"
    for more, folder in (
        ("models: {path: m}\nstate: {path: s}\n", "m"),
        ("models: {url: 'memory://m'}\nstate: {path: s}\n", "memory://m"),
        ("state: {path: s}\n", "s"),
        ("", None),
    ):
        made = loaded(tmp_path, jobs + more)
        found = RetrainFolder.of(made.config)
        assert (found and found._files._place.where("")) == folder
        assert bool(made.notes) == (folder is None)


def test_a_wrong_setting_is_one_clear_mistake(tmp_path):
    for text, message in (("perhaps", "true, false, or keys"), ("{method: adwim}", "did you mean 'adwin'?")):
        with pytest.raises(ConfigError, match="drift_detection") as error:
            loaded(tmp_path, f"jobs: {{a: {{expr: up, drift_detection: {text}}}}}\n")
        assert message in str(error.value)


@pytest.mark.parametrize(
    "text", ["jobs: {a: {expr: up}}\ndrift_detection: true\n", "metrics: [up]\ndrift_detection: true\n"]
)
def test_without_river_the_mistake_names_the_extra(tmp_path, monkeypatch, text):
    monkeypatch.setattr("exporter.config.section_base.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="river") as error:
        loaded(tmp_path, text)
    assert "pip install 'anomaly-exporter[river]'" in str(error.value)
    assert loaded(tmp_path, text.replace("true", "false")).config


def test_river_is_not_imported_before_a_job_is_watched():
    code = "import sys, exporter.service.app; from exporter.config.sections.root import Config; "
    code += "Config.model_validate({'jobs': {'a': {'expr': 'up'}}, 'drift_detection': True}); "
    code += "sys.exit('river' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert Config.model_validate({"jobs": {"a": {"expr": "up"}}}).drift_detection is None

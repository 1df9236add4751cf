"""Small files between processes: read as written, refused when damaged, read from versions without a checksum."""

import json

import msgspec
import pytest
import structlog

from exporter.backtest.quality_metrics import BacktestMetrics, publish
from exporter.config.sections.models import ModelsConfig
from exporter.config.sections.root import Config
from exporter.models import Store
from exporter.models.backend import FolderBackend
from exporter.models.exchange import Exchange, shared_folder, shared_place
from exporter.models.retrain_requests import RetrainFolder, RetrainRequest
from exporter.models.signed_records import SealError
from exporter.observe.metrics import SelfMetrics

OLD_REQUEST = b"""{
  "job": "cpu",
  "detector": "robust",
  "method": "adwin",
  "reason": "why",
  "time": 1.0,
  "model_version": "",
  "statistics": {
    "now": 0.5
  }
}
"""
OLD_BACKTEST = (
    b'{"job":"load","time":1795889682.0003421,"start":0.0,"end":60.0,"figures":{"recall":0.5,"precision":null}}'
)
OLD_TRAINING = b"""{
  "time": 1000.0,
  "outcome": "rejected",
  "seconds": 1.5,
  "job": "api",
  "totals": {
    "promoted": 1,
    "rejected": 1
  }
}
"""


class Note(msgspec.Struct, frozen=True):
    job: str
    text: str = ""


@pytest.fixture
def files(tmp_path):
    return Exchange(FolderBackend(tmp_path), ".notes", Note)


def backtest_recall(folder):
    metrics = SelfMetrics()
    config = Config.model_validate({"jobs": {"load": {"expr": "load"}}, "state": {"path": str(folder)}})
    BacktestMetrics(metrics).show(config)
    return metrics.registry.get_sample_value("anomaly_exporter_backtest_recall", {"query": "load"})


def test_a_record_is_read_as_written_whatever_its_text(files):
    for text in ("", "ä\n\x00", "half of a pair: \ud800"):
        files.write(Note("a", text))
        assert files.read("a") == Note("a", text)
    assert files.read("b") is None
    files.remove("a")
    assert files.read("a") is None


def test_no_changed_byte_is_read(files, tmp_path):
    files.write(Note("a", "text"))
    (file,) = tmp_path.glob(".notes/*")
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(SealError):
            files.read("a")
        file.write_bytes(whole[:at])
        with pytest.raises(SealError):
            files.read("a")


def test_a_record_of_another_kind_is_refused(files, tmp_path):
    Exchange(FolderBackend(tmp_path), ".notes", RetrainRequest).write(
        RetrainRequest(job="a", detector="robust", method="adwin", reason="why", time=1.0)
    )
    with pytest.raises(SealError, match="is no note"):
        files.read("a")


def test_files_of_the_version_before_are_read(tmp_path):
    for name, data in (
        (".retrain/cpu.json", OLD_REQUEST),
        (".backtests/load.json", OLD_BACKTEST),
        ("api/last_train.json", OLD_TRAINING),
    ):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(data)
    request = RetrainFolder(FolderBackend(tmp_path)).read("cpu")
    assert (request.reason, request.time, request.statistics) == ("why", 1.0, {"now": 0.5})
    assert backtest_recall(tmp_path) == 0.5
    store = Store(ModelsConfig(path=tmp_path))
    assert store.recorded("api") == json.loads(OLD_TRAINING)
    store.record("api", {"outcome": "promoted"})
    assert store.recorded("api")["totals"] == {"promoted": 2, "rejected": 1}, "the counts go on"


@pytest.mark.parametrize("cut", range(0, len(OLD_REQUEST) - 2, 7))
def test_a_part_of_a_file_of_the_version_before_is_refused_with_one_line(cut, tmp_path):
    folder = RetrainFolder(FolderBackend(tmp_path))
    (tmp_path / ".retrain").mkdir()
    (tmp_path / ".retrain" / "cpu.json").write_bytes(OLD_REQUEST[:cut])
    with structlog.testing.capture_logs() as logs:
        assert folder.read("cpu") is None
    assert [line["event"] for line in logs] == ["retrain_request_unreadable"]


def test_a_damaged_backtest_is_refused_with_one_line(tmp_path):
    file = publish(tmp_path / ".backtests", "load", 0.0, 60.0, {"recall": 0.5})
    assert backtest_recall(tmp_path) == 0.5
    file.write_bytes(file.read_bytes().replace(b"0.5", b"0.6"))
    with structlog.testing.capture_logs() as logs:
        assert backtest_recall(tmp_path) is None
    assert [line["event"] for line in logs] == ["backtest_not_shown"]


@pytest.mark.parametrize(
    ("sections", "place", "folder"),
    [
        ({"models": {"path": "m"}, "state": {"path": "s"}}, "m", "m"),
        ({"models": {"url": "memory://m"}, "state": {"path": "s"}}, "memory://m", "s"),
        ({"models": {"url": "memory://m"}}, "memory://m", None),
        ({"state": {"path": "s"}}, "s", "s"),
        ({}, None, None),
    ],
)
def test_shared_files_are_next_to_the_models_or_else_next_to_the_states(sections, place, folder):
    config = Config.model_validate({"jobs": {"load": {"expr": "load"}}, **sections})
    found = shared_place(config)
    assert (found and found.where("").rstrip("/")) == place
    assert (None if (there := shared_folder(config)) is None else str(there)) == folder

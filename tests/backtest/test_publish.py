"""Figures of a backtest on the page of the running exporter."""

import os

import numpy as np
import pytest

from exporter.backtest.quality_metrics import BacktestMetrics, place, publish
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from tests.support.command import backtest


def config(tmp_path, **sections):
    return Config.model_validate({"jobs": {"load": {"expr": "load"}, "Other": {"expr": "x"}}, **sections})


@pytest.fixture
def board():
    metrics = SelfMetrics()
    board = BacktestMetrics(metrics)
    board.registry = metrics.registry
    return board


def value(board, name, job="load"):
    return board.registry.get_sample_value(f"anomaly_exporter_backtest_{name}", {"query": job})


def test_figures_are_shown_and_what_cannot_be_told_is_absent(tmp_path, board):
    of = config(tmp_path, state={"path": str(tmp_path)})
    board.show(of)
    assert value(board, "recall") is None
    publish(place(of), "load", 0.0, 60.0, {"recall": 0.5, "precision": float("nan"), "alerts_per_week": 0.0})
    publish(place(of), "Other", 0.0, 60.0, {"recall": 1.0})
    board.show(of)
    assert (value(board, "recall"), value(board, "recall", "Other")) == (0.5, 1.0)
    assert value(board, "precision") is None
    assert value(board, "alerts_per_week") == 0.0
    assert value(board, "timestamp_seconds") > 1.7e9


def test_newer_figures_replace_older_ones_and_removed_ones_go(tmp_path, board):
    of = config(tmp_path, models={"path": str(tmp_path / "m")}, state={"path": str(tmp_path / "s")})
    assert place(of).parent == tmp_path / "m"
    file = publish(place(of), "load", 0.0, 60.0, {"recall": 0.5, "precision": 0.5})
    board.show(of)
    publish(place(of), "load", 0.0, 60.0, {"recall": 0.25})
    os.utime(file, ns=(1, 1))  # a clock that is set back is a change too
    board.show(of)
    assert (value(board, "recall"), value(board, "precision")) == (0.25, None)
    file.unlink()
    board.show(of)
    assert value(board, "recall") is None
    assert value(board, "timestamp_seconds") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"job": "load"}', b"x" * 100_000])
def test_a_damaged_file_is_shown_as_nothing_and_row_25_never_stops_the_page(tmp_path, board, content):
    of = config(tmp_path, state={"path": str(tmp_path)})
    publish(place(of), "load", 0.0, 60.0, {"recall": 0.5}).write_bytes(content)
    board.show(of)
    assert value(board, "recall") is None


def test_a_folder_that_is_shared_is_needed(put, tmp_path):
    path, file = put("a.csv", timestamp=[0, 60, 120], v=[1, 2, 3]), tmp_path / "anomaly.yml"
    file.write_text("jobs: {load: {expr: load}}\n")
    assert "name its configuration with --config FILE" in backtest("--data", path, "--publish").stderr
    assert (
        "set models: {path: …} or state: {path: …}" in backtest("--config", file, "--since", "1h", "--publish").stderr
    )


def test_a_backtest_of_the_command_reaches_the_metrics(put, noise, tmp_path, board):
    times = np.arange(0, 400 * 60, 60)
    path = put(
        "a.csv", timestamp=times, v=noise(1, 400, range(200, 210)), label=[int(200 <= r < 210) for r in range(400)]
    )
    file = tmp_path / "anomaly.yml"
    file.write_text(f"jobs: {{load: {{expr: load}}}}\nstate: {{path: {tmp_path}/state}}\n")
    result = backtest("--config", file, "--data", path, "--publish")
    assert result.exit_code == 0, result.output
    assert "published: " in result.stderr
    board.show(config(tmp_path, state={"path": str(tmp_path / "state")}))
    assert (value(board, "recall"), value(board, "events")) == (1.0, 1.0)
    assert value(board, "precision") is not None

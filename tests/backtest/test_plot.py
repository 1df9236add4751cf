"""Pictures: one for each entity, quick however long the series are."""

import builtins

import numpy as np
import pytest

from exporter.backtest.plot import envelope
from tests.support.command import backtest

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("label", [True, False])
def test_every_entity_gets_a_picture_beside_its_csv(put, noise, tmp_path, label):
    times = np.arange(0, 400 * 60, 60)
    labels = {"label": [int(200 <= row < 210) for row in range(400)]} if label else {}
    put("a.csv", timestamp=times, cpu=noise(1, 400, range(200, 210)), **labels)
    put("b.csv", timestamp=times, p99=noise(2, 400, [300]), rps=[""] * 400)
    data = put("const.csv", timestamp=times[:80] * 7, v=[1] * 80).parent
    result = backtest("--data", data, "--out", tmp_path / "out", "--plot")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{name}.{kind}" for name in ("a", "b", "const") for kind in ("csv", "png")
    }
    assert all(path.read_bytes().startswith(PNG) for path in (tmp_path / "out").glob("*.png"))


def test_a_long_series_keeps_its_extremes_and_not_its_samples():
    times, values = np.arange(20_000.0), np.random.default_rng(0).normal(size=20_000)
    values[[7, 12_345]] = 99.0, -99.0
    values[300:400] = np.nan
    at, low, high = envelope(times, values, values)
    assert len(at) <= 1200
    assert (np.nanmax(high), np.nanmin(low)) == (99.0, -99.0)
    assert at[np.nanargmin(low)] == pytest.approx(12_345, abs=20)
    assert (np.nan_to_num(low, nan=0) <= np.nan_to_num(high, nan=0)).all()
    assert np.isnan(low).any()


def test_a_picture_needs_a_folder_and_matplotlib(put, tmp_path, monkeypatch):
    path = put("a.csv", timestamp=[0, 60, 120], v=[1, 2, 3])
    assert "name the folder with --out DIR" in backtest("--data", path, "--plot").stderr
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    result = backtest("--data", path, "--plot", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == "--plot needs matplotlib: pip install 'anomaly-exporter[plot]'\n"

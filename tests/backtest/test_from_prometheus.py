"""A backtest of what a Prometheus remembers."""

import json
import time

import numpy as np
import pytest
import structlog
from typer.testing import CliRunner

from exporter.backtest.history import VerdictHistory
from exporter.backtest.replay import make_job, replay
from exporter.backtest.run_prometheus import file_names
from exporter.cli.main import cli
from exporter.config.sections.job import JobConfig
from exporter.pipeline.cycle import evaluate
from tests.support.fake import FakeSource

STEP = 60.0


@pytest.fixture(autouse=True)
def _logs_as_before():
    yield
    structlog.reset_defaults()


def source_of(rows):
    rng, source = np.random.default_rng(1), FakeSource()
    for name, minutes in (("a", range(rows)), ("b", range(80, rows)), ("c", range(100))):
        source.put("q", {"i": name}, {STEP * m: 10 + rng.normal() + 30 * (120 <= m < 130) for m in minutes})
    return source


def test_reading_a_day_at_once_changes_no_verdict_and_asks_less():
    direct, behind = source_of(200), source_of(200)
    one, other = (VerdictHistory(STEP * np.arange(50.0, 200.0), STEP) for _ in range(2))
    job = make_job("job", JobConfig(expr="q", window=1200.0), direct, hold=True)
    for minute in range(50, 200):
        for verdict in evaluate(job, minute * STEP):
            one.add(verdict)
    steps = []
    for verdict in replay(
        make_job("job", JobConfig(expr="q", window=1200.0), behind, hold=True), 50, 199, steps.append
    ):
        other.add(verdict)
    assert one.keys == other.keys
    for name in ("score", "flag", "severity", "alert", "expected", "present"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.flag.any()
    assert sum(steps) == 150
    assert max(end for _, _, end in behind.asked) == 199 * STEP
    assert len(behind.asked) < len(direct.asked) / 20


def test_entities_get_different_file_names_whatever_their_labels_hold():
    keys = ((("a", "x/y"),), (("a", "x_y"),), (("a", "../../etc"),), (), (("a", "X_Y"),), (("a", "z" * 300),))
    names = file_names(keys)
    assert names[:5] == ["x_y", "x_y_2", "_.._etc", "all", "X_Y_3"]
    assert len(names[5]) == 150


@pytest.mark.servers
def test_a_time_range_of_the_configured_prometheus_is_judged_against_incidents(prometheus, tmp_path):
    now = time.time() // STEP * STEP - 4 * 3600
    rng = np.random.default_rng(0)
    lines = ["# TYPE load gauge"]
    for instance in "ab":
        for minute in range(300):
            value = 10 + rng.normal() + 40 * (instance == "b" and 200 <= minute < 215)
            lines.append(f'load{{instance="{instance}"}} {value:.4f} {now + STEP * (minute - 300):.0f}')
    server = prometheus(history=lines)
    config, incidents = tmp_path / "anomaly.yml", tmp_path / "incidents.yml"
    config.write_text(f"prometheus: {{url: '{server.url}'}}\njobs: {{load: {{expr: load, entity: [instance]}}}}\n")
    outage = now - 100 * STEP
    incidents.write_text(f"- {{start: {outage}, end: {outage + 14 * STEP}, labels: {{instance: b}}}}\n")
    begin, end = now - 200 * STEP, now - STEP
    result = CliRunner().invoke(
        cli,
        [
            "backtest",
            f"--config={config}",
            f"--from={begin}",
            f"--to={end}",
            "--json",
            f"--incidents={incidents}",
            f"--out={tmp_path / 'out'}",
        ],
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["overall"]["events"], found["overall"]["found"], found["overall"]["false"]) == (1, 1, 0)
    assert {each["name"]: each["openings"] for each in found["entities"]} == {"a": 0, "b": 1}
    rows = (tmp_path / "out" / "b.csv").read_text().splitlines()
    assert len(rows) == 201
    assert rows[1].split(",")[1] != ""  # warmed up by the window before the range


def test_an_unreachable_source_is_a_clear_error(tmp_path):
    config = tmp_path / "anomaly.yml"
    config.write_text("prometheus: {url: 'http://127.0.0.1:1', retries: 0}\njobs: {load: {expr: load, rate: false}}\n")
    result = CliRunner().invoke(cli, ["backtest", "--config", str(config), "--since", "1h"])
    assert result.exit_code == 2
    assert result.stderr.startswith("job load: ")
    result = CliRunner().invoke(cli, ["backtest", "--config", str(config)])
    assert "give either --since or --from" in result.stderr

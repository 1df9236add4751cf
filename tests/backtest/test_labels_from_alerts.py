"""The history of ALERTS as labels: what was firing, for the entities it was about."""

import json
import time

import numpy as np
import pytest

from exporter.labelled_incidents import Alert
from tests.support.command import backtest

STEP = 60.0


@pytest.mark.parametrize(
    ("alert", "entity", "concerned"),
    [
        ({"instance": "a"}, {"instance": "a", "job": "node"}, True),
        ({"instance": "a", "severity": "page"}, {"instance": "b"}, False),
        ({"instance": "a", "job": "node"}, {"instance": "a", "job": "db"}, False),
        ({"pod": "a"}, {"instance": "a"}, False),  # nothing in common
        ({"pod": "a"}, {}, True),  # the entity is the whole
    ],
)
def test_an_alert_is_about_the_entities_that_agree_in_all_labels_both_have(alert, entity, concerned):
    assert Alert(0.0, 1.0, tuple(alert.items())).concerns(tuple(entity.items())) is concerned


@pytest.mark.servers
def test_what_was_firing_in_prometheus_labels_the_backtest(prometheus, tmp_path):
    now = time.time() // STEP * STEP - 4 * 3600
    rng, lines = np.random.default_rng(0), ["# TYPE load gauge"]

    def sample(text, minute, value):
        lines.append(f"{text} {value:.4f} {now + STEP * (minute - 300):.0f}")

    for instance in "ab":
        for minute in range(300):
            outage = (instance, minute) in {("b", m) for m in (*range(150, 165), *range(230, 245))}
            sample(f'load{{instance="{instance}"}}', minute, 10 + rng.normal() + 40 * outage)
    lines.append("# TYPE ALERTS gauge")
    for state, minutes in (
        ("pending", (149, 150, 151, 229, 230, 231)),
        ("firing", (*range(152, 166), *range(232, 246))),
    ):
        for minute in minutes:
            sample(f'ALERTS{{alertname="NodeBusy",alertstate="{state}",instance="b",severity="page"}}', minute, 1)
    for minute in range(200, 210):
        sample('ALERTS{alertname="NodeBusy",alertstate="firing",instance="gone"}', minute, 1)
        sample('ALERTS{alertname="DiskFull",alertstate="firing",instance="a"}', minute, 1)
    server = prometheus(history=lines)
    config = tmp_path / "anomaly.yml"
    config.write_text(f"prometheus: {{url: '{server.url}'}}\njobs: {{load: {{expr: load, entity: [instance]}}}}\n")

    def labelled(matchers):
        return backtest(
            "--config",
            config,
            "--from",
            now - 200 * STEP,
            "--to",
            now - STEP,
            "--json",
            "--labels-from-alerts",
            matchers,
        )

    result = labelled('alertname=~"Node.*"')
    assert result.exit_code == 0, result.output
    found = {each["name"]: each for each in json.loads(result.stdout)["entities"]}
    assert (found["b"]["events"], found["b"]["found"], found["b"]["false"]) == (2, 2, 0)
    assert (found["a"]["events"], found["a"]["openings"]) == (0, 0)
    assert "1 of 3 incidents cover no sample" in result.stderr  # of an instance that is gone
    assert labelled('{alertname=~"Node.*"}').stdout.count('"events": 2') == result.stdout.count('"events": 2')
    assert "no such alert was firing" in labelled('alertname="Never"').stderr
    assert labelled('alertname="').exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x.csv"], "--labels-from-alerts queries the configured Prometheus"),
        (["--config", "x.yml", "--incidents", "y.yml"], "omit --data and --incidents"),
    ],
)
def test_alerts_go_with_prometheus_only(arguments, message):
    assert message in backtest("--labels-from-alerts", 'alertname="A"', *arguments).stderr


def test_matchers_must_say_something(tmp_path):
    config = tmp_path / "anomaly.yml"
    config.write_text("jobs: {load: {expr: load, rate: false}}\n")
    result = backtest("--config", config, "--since", "1h", "--labels-from-alerts", "{}")
    assert result.stderr.startswith("--labels-from-alerts: which alerts?")

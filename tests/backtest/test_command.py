"""The command as a user runs it."""

import csv
import json

import numpy as np
import pytest

from tests.support.command import backtest


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(put, noise):
    times = np.arange(0, 400 * 60, 60)
    label = [int(200 <= row < 210) for row in range(400)]
    put("a.csv", timestamp=times, cpu=noise(1, 400, range(200, 210)), label=label)
    put("b.csv.gz", timestamp=times, cpu=noise(2, 400, [300]), label=[0] * 400)
    return put("c.csv", timestamp=times[:50] * 5, p99=noise(3, 50), rps=noise(4, 50)).parent


def test_a_folder_is_judged_without_a_configuration(folder, tmp_path):
    result = backtest("--data", folder, "--detector", "robust", "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [each["name"] for each in found["entities"]] == ["a", "b", "c"]
    assert (found["overall"]["events"], found["overall"]["found"], found["overall"]["recall"]) == (1, 1, 1.0)
    assert found["entities"][0]["time_to_detect"] == 0.0
    assert found["entities"][1]["false"] == 1
    assert found["entities"][2]["recall"] is None
    assert found["overall"]["points_per_second"] > 0
    written = {path.name: rows(path) for path in (tmp_path / "out").iterdir()}
    assert {name: len(each) for name, each in written.items()} == {"a.csv": 400, "b.csv": 400, "c.csv": 50}
    assert ",".join(written["a.csv"][0]) == "timestamp,score,flag,severity,alert,expected,lower,upper"
    assert {row["channel"] for row in written["c.csv"]} == {"p99", "rps"}
    assert [row["flag"] for row in written["a.csv"][198:202]] == ["0", "0", "1", "1"]
    assert float(written["a.csv"][200]["score"]) > 1
    assert float(written["a.csv"][200]["upper"]) < 50


def test_a_row_without_a_verdict_has_an_empty_score_and_every_row_is_answered(put, tmp_path):
    times = [0, 60, 60, 120, *range(180, 60 * 60, 60)]
    path = put("a.csv", timestamp=times, v=[1, 2, 3, "", *range(len(times) - 4)])
    backtest("--data", path, "--out", tmp_path / "out")
    written = rows(tmp_path / "out" / "a.csv")
    assert [int(row["timestamp"]) for row in written] == times
    assert {row["score"] for row in written[:5]} == {""}
    assert written[1] | {"timestamp": ""} == written[2] | {"timestamp": ""}
    assert written[-1]["score"] != ""


def test_the_table_names_entities_and_figures(folder):
    text = backtest("--data", folder).stdout
    for word in ("recall", "precision", "alerts", "time to", "all 3"):
        assert word in text


def test_settings_change_what_is_flagged(folder):
    strict = json.loads(backtest("--data", folder, "--json", "--set", "direction=below").stdout)
    assert strict["overall"]["found"] == 0
    wide = json.loads(backtest("--data", folder, "--json", "--detector", "{robust: {deviations: 1000}}").stdout)
    assert wide["overall"]["openings"] == 0


def test_a_configured_job_lends_its_settings(folder, tmp_path):
    config = tmp_path / "anomaly.yml"
    config.write_text("jobs:\n  one: {expr: up, direction: below}\n  two: {expr: up, entity: [a], group: [a]}\n")
    found = {
        job: json.loads(backtest("--data", folder, "--json", "--config", config, "--job", job).stdout)["overall"]
        for job in ("one", "two")
    }
    assert (found["one"]["found"], found["two"]["found"]) == (0, 1)


def test_what_the_exporter_finds_at_its_start_gets_no_verdict(folder, tmp_path):
    for history, judged_from in (("labels", 59), ("2h", 119)):
        backtest("--data", folder / "a.csv", "--out", tmp_path / history, "--history", history)
        scores = [row["score"] for row in rows(tmp_path / history / "a.csv")]
        assert set(scores[:judged_from]) == {""}
        assert "" not in scores[judged_from:]


def test_an_incidents_file_labels_the_entities_by_name(folder, tmp_path):
    incidents = tmp_path / "incidents.yml"
    incidents.write_text("- {start: 17990, end: 18010, labels: {entity: b}}\n- {start: 2001-01-01, end: 2001-01-02}\n")
    result = backtest("--data", folder, "--json", "--incidents", incidents)
    found = {each["name"]: each for each in json.loads(result.stdout)["entities"]}
    assert (found["a"]["found"], found["a"]["false"], found["b"]["found"], found["b"]["false"]) == (0, 1, 1, 0)
    assert "1 of 2 incidents cover no sample" in result.stderr


def test_a_detector_that_never_gave_a_verdict_is_said_aloud(put):
    path = put("a.csv", timestamp=[0, 60, 120], v=[1, 2, 3])
    assert "no score at all for 1 of 1 entities (a)" in backtest("--data", path).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to evaluate: give --config FILE and --since 7d"),
        (["--data", "DATA", "--since", "7d"], "--from, --to and --since are for samples from Prometheus"),
        (["--data", "DATA", "--job", "x"], "give it with --config FILE"),
        (["--data", "DATA", "--set", "budget"], "--set budget: write KEY=VALUE"),
        (["--data", "DATA", "--set", "opn_after=2"], "unknown key; did you mean 'open_after'?"),
        (
            ["--data", "DATA", "--set", "open_after=0"],
            "--set open_after: jobs.backtest.open_after: must be more than 0",
        ),
        (["--data", "DATA", "--set", "window=1m"], "--set window: jobs.backtest.window: the detector's window"),
        (["--data", "DATA", "--detector", "robst"], "unknown detector 'robst', did you mean 'robust'?"),
        (["--data", "DATA", "--detector", "{robust: {deviations: x}}"], "--detector"),
        (["--data", "DATA", "--detector", "{robust: ["], "--detector: neither JSON nor YAML"),
        (["--data", "DATA", "--history", "long"], "--history: 'long' is not a duration"),
        (["--data", "DATA/none.csv"], "none.csv: No such file or directory"),
        (["--config", "DATA/none.yml"], "there is no such file"),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(folder, arguments, message):
    result = backtest(*(each.replace("DATA", str(folder)) for each in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""

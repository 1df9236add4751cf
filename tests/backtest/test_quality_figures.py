"""Figures that can be counted by hand."""

import math

import numpy as np
import pytest

from detectors.units import HOUR, WEEK
from exporter.backtest.entity_result import EntityResult
from exporter.backtest.history import VerdictHistory
from exporter.backtest.quality import figures, leading, overall
from exporter.errors import InputError
from exporter.labelled_incidents import label_of, read_incidents

STEP = HOUR


def result(label, flag, alert=()):
    rows = len(flag)
    history = VerdictHistory(STEP * np.arange(rows), STEP, [()])
    history.flag[0] = [mark == "x" for mark in flag]
    history.alert[0] = [mark == "x" for mark in alert] if alert else False
    label = None if label is None else np.array([{"-": 0.0, "x": 1.0, " ": np.nan}[mark] for mark in label])
    return EntityResult(history, 0, np.arange(rows), "e", [""] * rows, history.times, label, 1.0)


def test_events_found_and_false_alarms():
    found = figures(
        result(
            "  ---xxxx-----xx----xx--",
            "xx" + "---" + "--xx" + "xx---" + "--" + "-x--" + "-x" + "--",
            "--" + "---" + "---x" + "-----" + "--" + "-x--" + "--" + "--",
        )
    )
    assert (found.events, found.found, found.openings, found.false, found.alerts) == (3, 2, 3, 1, 2)
    assert found.recall == pytest.approx(2 / 3)
    assert found.precision == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.time_to_detect == 1.5 * STEP
    assert found.series_weeks == pytest.approx(21 * STEP / WEEK)
    assert found.false_per_series_week == pytest.approx(1 / found.series_weeks)
    assert found.alerts_per_week == pytest.approx(2 / found.weeks)


def test_a_short_break_does_not_make_two_incidents():
    assert figures(result(None, "xx-xx--xx---x")).openings == 3


def test_without_labels_nothing_is_claimed_about_finding():
    found = figures(result(None, "--x--"))
    assert found.openings_per_series_week == pytest.approx(WEEK / (4 * STEP))
    for name in ("recall", "precision", "f1", "time_to_detect", "false_per_series_week"):
        assert math.isnan(getattr(found, name))


def test_a_false_alarm_without_any_event_costs_precision_and_not_recall():
    found = figures(result("-" * 20, "-" * 18 + "x-"))
    assert found.precision == 0.0
    assert math.isnan(found.recall)


def test_marked_history_does_not_count_and_otherwise_the_first_rows():
    assert leading(np.array([np.nan, np.nan, 0.0, 1.0])) == 2
    assert leading(np.zeros(100)) == 15
    assert leading(np.zeros(100_000)) == 750


def test_the_overall_alert_rate_is_that_of_all_entities_together():
    every = [figures(result(None, "-" * 10, "--x" + "-" * 7)) for _ in range(4)]
    total = overall("job", every, 1.0)
    assert total.alerts_per_week == pytest.approx(4 / (9 * STEP / WEEK))


def test_incidents_label_the_entities_they_match(tmp_path):
    path = tmp_path / "incidents.yml"
    path.write_text(
        "- {start: 1970-01-01T01:00:00Z, end: 1970-01-01 02:00:00, labels: {instance: 'a.*'}}\n"
        "- {start: 14400, end: '14400'}\n"
        "- {start: 1990-01-01, end: 1990-01-02T00:00:00Z}\n"
    )
    incidents = read_incidents(path)
    times = STEP * np.arange(6)
    label, used = label_of((("instance", "ab"),), times, incidents)
    assert label.tolist() == [0, 1, 1, 0, 1, 0]
    assert used.tolist() == [True, True, False]
    assert label_of((("instance", "ba"),), times, incidents)[0].tolist() == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{start: 1}", "the file: must be a list of {start, end, labels}"),
        ("- {start: 1}", "incident 0.end: Field required"),
        ("- {start: noon, end: 2}", "incident 0.start: "),
        ("- {start: 1, end: 2, label: {}}", "incident 0.label: Extra inputs are not permitted"),
        ("- {start: 1, end: 2, labels: {a: '('}}", "no regular expression"),
        ("- {start: 2, end: 1}", "incident 0: ends before it starts"),
        ("- {start: [", "not valid YAML"),
    ],
)
def test_a_bad_incidents_file_is_a_clear_error(tmp_path, text, message):
    path = tmp_path / "incidents.yml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_incidents(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)

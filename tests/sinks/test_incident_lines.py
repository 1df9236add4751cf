"""The readings of incidents on the page: there while an incident is open or has just ended, and never too many."""

from dataclasses import replace

import numpy as np
import pytest

from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.pipeline.worst_readings import Readings
from exporter.sinks import page_lines
from exporter.sinks.metrics_page import Page
from tests.sinks.test_metrics_page import samples
from tests.support.verdicts import key, verdict

N = np.nan


def with_readings(found: Verdict, *rows: int, **figures: object) -> Verdict:
    """Return a verdict with incidents of these rows, in which every number is 2 but for `figures`."""
    count, channels = len(rows), len(found.channels)
    wide = {name: np.full((count, channels), 2.0) for name in ("value", "expected", "lower", "upper", "contribution")}
    narrow = {name: np.full(count, at) for name, at in (("start", 60.0), ("end", N), ("at", 120.0), ("score", 2.0))}
    parts = {**narrow, **wide, "ending": np.zeros(count, np.int8)}
    parts |= {name: np.array(value, float) for name, value in figures.items()}
    return replace(found, readings=Readings(np.array(rows, np.intp), **parts))


@pytest.fixture
def page() -> Page:
    return Page(SelfMetrics())


def told(page: Page) -> dict[str, dict[str, float]]:
    """Return the readings by family and the label `i`, with the channel where there is one."""
    found: dict[str, dict[str, float]] = {}
    for (name, labels), value in samples(page).items():
        if name.startswith("anomaly_incident_"):
            known = dict(labels)
            assert {known["query"], known["detector"]} == {"cpu", "robust"}
            where = "/".join(filter(None, (known["i"], known.get("channel"))))
            found.setdefault(name.removeprefix("anomaly_incident_"), {})[where] = value
    return found


def test_an_incident_is_shown_with_its_times_and_its_reading_whatever_is_published(page: Page) -> None:
    keys = (key(i="a"), key(i="b"), key(i="c"))
    page.publish(with_readings(verdict(keys), 1, 2, end=[N, 300.0], lower=[[N], [1.0]]), ())
    both = {"b": 2.0, "c": 2.0}
    assert told(page) == {
        "start_timestamp_seconds": {"b": 60.0, "c": 60.0},
        "end_timestamp_seconds": {"c": 300.0},
        "worst_timestamp_seconds": {"b": 120.0, "c": 120.0},
        **dict.fromkeys(("score", "value", "expected", "upper"), both),
        "lower": {"c": 1.0},
    }
    page.publish(verdict(keys), ())
    assert told(page) == {}


def test_channels_without_a_reading_are_not_shown(page: Page) -> None:
    found = verdict((key(i="a"),), channels=("p99", "rps"))
    nothing = {name: [[2.0, N]] for name in ("value", "expected", "lower", "upper", "contribution")}
    page.publish(with_readings(found, 0, **nothing), ())
    shown = {name: set(series) for name, series in told(page).items() if name in nothing}
    assert shown == {name: {"a/p99"} for name in nothing}


def test_of_very_many_the_alerts_and_the_most_severe_are_shown(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_lines, "MOST_INCIDENTS", 3)
    keys = tuple(key(i=str(n)) for n in range(9))
    found = verdict(keys, severity=np.arange(9.0), alert=[n == 1 for n in range(9)])
    page.publish(with_readings(found, *range(9)), ())
    assert set(told(page)["value"]) == {"1", "7", "8"}


def test_series_that_look_the_same_are_shown_once(page: Page) -> None:
    """Their labels differ only in an empty one: the second is left out of every family."""
    keys = (key(i="a"), key(i="a", zone=""), key(i="b"))
    page.publish(with_readings(verdict(keys), 1, 2), ())
    assert set(told(page)["value"]) == {"b"}

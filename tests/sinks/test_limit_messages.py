"""Notifications on series near their limit: told by the rule of the alert, once, and again when it is far."""

from dataclasses import replace

import numpy as np
import pytest

from exporter.config.receivers.webhook import message
from exporter.config.sections.forecast import CALM, ForecastConfig
from exporter.pipeline.reaches import Reaches
from exporter.sinks.notify.delivery import DeliveryState
from exporter.sinks.notify.limits import LASTS, MOST, NearLimits
from exporter.sinks.notify.mail import subject
from exporter.sinks.notify.message import compose
from tests.support.verdicts import key, verdict

HOUR, DAY, NOW = 3600.0, 86_400.0, 1_764_536_400.0
A, B = key(instance="a"), key(instance="b")
FORECAST = ForecastConfig(limit=0.0)


def judged(minute: float, *early: float, keys=(A, B), job: str = "disks", expected: float | None = None):
    """Return a verdict: each series reaches its limit so many hours after the beginning, at the earliest."""
    ends = [np.array(early) * HOUR + NOW for _ in range(3)]
    ends[1], ends[2] = ends[1] + (HOUR if expected is None else expected), ends[2] + 2 * HOUR
    found = verdict(keys, job=job, values=[[12 * 2.0**30]] * len(keys))
    return replace(found, time=NOW + 60 * minute, reaches=Reaches(0.0, 0, *ends))


def take(state: DeliveryState, shown) -> None:
    state.take(shown, "alert", {"value": "bytes"}, FORECAST)


def text_of(state: DeliveryState) -> str:
    """Send what is pending, and return it."""
    pending = state.pending()
    told = compose(pending, "", NOW)
    state.mark_sent(pending)
    return told


def test_a_limit_is_told_once_it_has_been_near_for_long_and_its_end_when_it_is_far_again() -> None:
    state = DeliveryState()
    for minute in range(0, (CALM + 1) * 60, 5):
        take(state, judged(minute, 40.0, np.inf))
        assert state.pending_count() == 0
    take(state, judged((CALM + 1) * 60, 40.0, np.inf))
    assert state.pending_count() == 1
    told = text_of(state)
    assert told.startswith("LIMIT near in disks: instance=a: reaches 0 B between Tue 2 Dec 13:00 and ")
    assert told.endswith("; now 12 GiB")
    assert subject(told).startswith("LIMIT near in disks")
    take(state, judged(300, 40.0, np.inf))
    assert state.pending_count() == 0, "it is told once"
    take(state, judged(301, 900.0, np.inf))
    assert state.pending_count() == 0, "forecasts are made again every hour"
    take(state, judged(302 + LASTS / 60, 900.0, np.inf))
    assert text_of(state) == "OVER in disks: instance=a: its limit is not near any more"
    assert state.pending_count() == 0


def test_what_is_very_near_does_not_wait_so_long_and_what_is_reached_says_since_when() -> None:
    state = DeliveryState()
    take(state, judged(0, 3.0, -2.0, expected=0.0))
    take(state, judged(60, 3.0, -2.0, expected=0.0))
    lines = text_of(state).splitlines()
    assert lines[0].startswith("LIMIT near in disks: instance=b: has been at 0 B or beyond since Sun 30 Nov 19:00 UTC")
    assert lines[1].startswith("LIMIT near in disks: instance=a: reaches 0 B between ")


def test_what_may_never_be_reached_is_not_told_and_what_is_not_known_is_not_over() -> None:
    state = DeliveryState()
    for minute in (0, 60, 400):
        take(state, judged(minute, 3.0, 3.0, expected=np.inf))
    assert state.pending_count() == 0
    for minute in (0, 60):
        take(state, judged(minute, 3.0, np.inf))
    text_of(state)
    for minute in (100, 300):
        take(state, judged(minute, np.nan, np.inf))
    assert state.pending_count() == 0
    take(state, judged(400, np.inf, np.inf))
    assert text_of(state).startswith("OVER in disks: instance=a")


def test_what_was_told_outlasts_a_restart_and_files_of_before_are_read() -> None:
    state = DeliveryState()
    for minute in (0, 60):
        take(state, judged(minute, 3.0, np.inf))
    text_of(state)
    again = DeliveryState.decode(state.encode())
    take(again, judged(61, 3.0, np.inf))
    assert again.pending_count() == 0
    assert [each.labels for each in again.limits.known()] == [{"instance": "a"}]
    assert DeliveryState.decode(DeliveryState().encode()).limits.known() == []


def test_who_wants_no_end_is_told_none_and_a_job_without_a_forecast_is_forgotten() -> None:
    state = DeliveryState()
    state.resolved = False
    for minute in (0, 60):
        take(state, judged(minute, 3.0, np.inf))
    text_of(state)
    take(state, judged(100, 900.0, np.inf))
    assert state.pending_count() == 0
    assert state.limits.known() == []
    take(state, judged(200, 3.0, np.inf))
    state.take(judged(201, 3.0, np.inf), "alert", {}, None)
    assert state.limits.known() == []


@pytest.mark.parametrize("count", [7, MOST + 50])
def test_many_at_once_are_one_message_that_names_the_first(count: int) -> None:
    keys = tuple(key(instance=f"i{n:05}") for n in range(count))
    limits = NearLimits()
    for minute in (0, 60):
        limits.take(judged(minute, *(3.0 + 0.001 * n for n in range(count)), keys=keys), FORECAST)
    state = DeliveryState()
    state.limits = limits
    pending = state.pending()
    assert len(pending.limits) == min(count, MOST)
    lines = compose(pending, "", NOW).splitlines()
    assert [line.split(": ")[1] for line in lines[:5]] == [f"instance=i{n:05}" for n in range(5)]
    assert lines[5] == f"and {min(count, MOST) - 5} more in disks"
    body = message(pending, "text")
    assert (body["limits_count"], body["limits"][0].labels) == (min(count, MOST), {"instance": "i00000"})

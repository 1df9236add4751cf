"""The evidence of a verdict: of incidents only, kept with the worst reading, over a restart and a new version too."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.streams import OUTSIDE, STREAMS, blank, merged, strongest
from detectors.types import Streams
from exporter.config.sections.job import JobConfig
from exporter.pipeline.evidence import is_by_hour, streams_of, told
from exporter.pipeline.expected import Shown
from exporter.pipeline.incident_update import IncidentUpdate
from exporter.pipeline.policy import Policy
from exporter.pipeline.worst_readings import Sample, WorstReadings
from tests.pipeline.test_expected import Run, equal, series
from tests.support.streams import streams
from tests.support.verdicts import key, verdict

N = np.nan
A, B = key(instance="a"), key(instance="b")
STEP = 60.0


def decided(flag: list[bool]) -> IncidentUpdate:
    """Return what was decided on entities whose incident began at 60."""
    flags, none = np.array(flag), np.zeros(len(flag), np.bool_)
    since = np.where(flags, STEP, N)
    zero = np.zeros(len(flag))
    return IncidentUpdate(flags, none, none, none, zero, since, np.full((len(flag), 1), N), zero)


class Readings:
    """The worst readings of two entities, of which the first has an incident."""

    def __init__(self) -> None:
        self.kept, self.now = WorstReadings.of(JobConfig.model_validate({"expr": "up"})), 0.0

    def see(self, score: float, found: Streams | None) -> Streams:
        self.now += STEP
        wide = np.full((2, 1), 1.0)
        sample = Sample(wide, wide, wide - 0.5, wide + 0.5, wide)
        scores = np.array([score, 0.1])
        shown = self.kept.take((A, B), self.now, scores, sample, decided([True, False]), None, found)
        assert shown.streams is not None
        return shown.streams


def test_the_evidence_is_that_of_the_worst_reading_to_the_end() -> None:
    readings = Readings()
    readings.see(2.0, streams([0], {"value now": 2.0}, {"value now": 1e6}))
    worst = readings.see(5.0, streams([0], {"10-minute mean": -4.0}, {"10-minute mean": 1e7}, by_hour=True))
    for later in (readings.see(3.0, streams([0], {"volatility": 9.0})), worst):
        assert [(each.name, each.size, each.every) for each in told(later, 0, ("value",))] == [
            ("10-minute mean", -4.0, 1e7)
        ]
        assert is_by_hour(later, 0)
    assert told(readings.see(6.0, None), 0, ("value",)) == [], "a worse reading of which nothing is known"


def test_the_evidence_outlasts_a_restart_and_states_of_other_versions_load() -> None:
    readings = Readings()
    found = replace(streams([0], {"30-minute mean": -4.0}, {"30-minute mean": 1e7}), names=("x", *STREAMS[1:]))
    readings.see(5.0, found)
    state = readings.kept.state()
    again = WorstReadings(1)
    again.restore(state)
    assert equal(again.current(), readings.kept.current())
    before = {name: array for name, array in state.items() if not name.startswith("stream_")}
    of_before = WorstReadings(1)
    of_before.restore(before)
    assert of_before.current().score.tolist() == [5.0]
    assert told(of_before.current().streams, 0, ("value",)) == []
    fewer = dict(state)
    for name in ("stream_size", "stream_period", "stream_channel"):
        fewer[name] = state[name][:, :3]
    fewer["stream_names"] = np.frombuffer(b"a\nb\nc", np.uint8)
    of_other = WorstReadings(1)
    of_other.restore(fewer)
    assert told(of_other.current().streams, 0, ("value",)) == []


def test_only_incidents_that_are_open_or_have_just_ended_have_evidence() -> None:
    found = streams([0, 1, 3], {"value now": 7.0})
    newest = np.ones((4, 1))
    assert streams_of(found, Policy(), newest, np.zeros(4, np.bool_)) is None
    some = streams_of(found, Policy(), newest, np.array([True, True, True, False]))
    assert some is not None
    assert some.rows.tolist() == [0, 1]


def test_a_value_outside_the_valid_range_is_evidence_that_never_comes_by_chance() -> None:
    found = streams([0], {"value now": 7.0}, {"value now": 1e6})
    newest = np.array([[5.0, 200.0], [5.0, 5.0], [-1.0, 5.0]])
    of = streams_of(found, Policy(lowest=0.0, highest=100.0), newest, np.ones(3, np.bool_))
    assert of is not None
    assert of.rows.tolist() == [0, 2]
    first = told(of, 0, ("p99", "rps"))
    assert [(each.name, each.channel) for each in first] == [("outside the valid range", "rps"), ("value now", "")]
    assert first[0].text == "outside the valid range (rps)"
    assert [each.channel for each in told(of, 2, ("p99", "rps"))] == ["p99"]


def test_hidden_incidents_have_no_evidence() -> None:
    whole = replace(verdict((A, B), flag=[True, True]), streams=streams([0, 1], {"value now": 7.0}))
    hidden = np.array([True, False])
    shown = Shown(~hidden, hidden, hidden, whole.readings).of(whole)
    assert shown.streams is not None
    assert shown.streams.rows.tolist() == [1]


def test_the_stronger_of_two_detectors_speaks_for_a_stream() -> None:
    one = streams([0, 2], {"value now": 3.0, "volatility": 4.0}, {"value now": 1e6})
    other = streams([2, 5], {"value now": -9.0, "volatility": -5.0})
    found = merged([one, None, other], np.array([0, 2, 5, 7]))
    assert found is not None
    assert found.size[:, [0, 4]].tolist()[:3] == [[3.0, 4.0], [3.0, -5.0], [-9.0, -5.0]]
    assert np.isnan(found.size[3]).all()
    assert merged([None], np.array([1])) is None


@pytest.mark.parametrize(
    ("size", "period", "wanted"),
    [
        ([1.0, 9.0, N], [N, N, N], [1, 0]),
        ([9.0, 1.0, N], [N, 5.0, np.inf], [2, 1, 0]),
        ([N, N, N], [N, N, N], []),
        ([0.0, 1e30, -2.0], [N, N, N], [1, 2, 0]),
    ],
)
def test_what_comes_more_rarely_is_stronger_and_then_what_is_larger(size, period, wanted) -> None:
    names = ("value now", "volatility", "10-minute mean")
    found = streams([0], dict(zip(names, size, strict=True)), dict(zip(names, period, strict=True)))
    assert [each.name for each in told(found, 0, ("value",))] == [names[at] for at in wanted]
    if wanted:
        assert STREAMS[strongest(found.size, found.period)[0]] == names[wanted[0]]


def test_a_live_job_and_one_that_begins_in_between_have_the_same_evidence() -> None:
    values = series(11)
    first = Run(values)
    live = first.to(640)
    assert any(each.streams is not None for each in live)
    assert any(told(each.readings.streams, 0, each.channels) for each in live if len(each.readings.rows))
    again = Run(values).to(640)
    for one, other in zip(live, again, strict=True):
        assert equal(one.streams, other.streams)
        assert equal(one.readings.streams, other.readings.streams)


def test_a_blank_has_nothing() -> None:
    assert told(blank(np.array([3])), 3, ("value",)) == []
    assert STREAMS[OUTSIDE] == "outside the valid range"

"""At steps of an hour and more the band follows what a series' own count makes of its scores."""

import numpy as np
import pytest

from detectors import Batch, Floats
from detectors.auto import Auto
from detectors.auto.evidence import _OWN
from detectors.auto.forecasts import MEANS
from detectors.fitted_tails import _RARER, LINE
from detectors.streams import VALUE
from detectors.units import HOUR, WEEK
from tests.support.cycles import MONDAY
from tests.support.replay import replay

SERIES = 12


@pytest.fixture(scope="module")
def quiet() -> tuple[Auto, Batch]:
    """Return what six weeks of a rhythm at one-hour steps have made, and the next sample with its history."""
    rhythm = 30 * np.sin(2 * np.pi * np.arange(42 * 24) / 24)
    values = np.random.default_rng(3).normal(100.0 + rhythm, 5.0, (SERIES, 42 * 24))
    keys, times = tuple((("row", str(row)),) for row in range(SERIES)), MONDAY + HOUR * np.arange(42 * 24)
    auto, made = Auto(), Batch(keys, ("value",), times, values[:, None])
    replay(auto, made)
    return auto, Batch(made.keys, made.channels, made.times[-2:] + HOUR, made.values[:, :, -2:])


def at(newest: Batch, value: Floats) -> Batch:
    values = newest.values.copy()
    values[:, 0, -1] = value
    return Batch(newest.keys, newest.channels, newest.times, values)


def test_what_comes_less_often_than_said_scores_higher(quiet):
    auto, newest = quiet
    corrections = auto.state()["stream_correction"]
    assert (corrections > 1).all()
    uncorrected = Auto().restore(auto.state() | {"stream_correction": np.ones_like(corrections)})
    judgement = auto.score(newest)
    beyond = at(newest, judgement.upper[:, 0])
    assert (auto.score(beyond).score > uncorrected.score(beyond).score).all()


def test_the_band_ends_where_a_single_sample_tells_of_an_incident_whatever_the_correction(quiet):
    auto, newest = quiet
    judgement = auto.score(newest)
    failures = auto.state()["stream_beyond"][:, 0, VALUE + _OWN :: MEANS]  # they do not widen the band
    calm = failures.max(axis=1) == 0
    assert calm.sum() >= SERIES / 2
    for end in (judgement.lower[:, 0], judgement.upper[:, 0]):
        streams = auto.score(at(newest, end)).streams
        assert streams is not None
        assert streams.rows.tolist() == list(range(SERIES))
        weeks = (streams.period[:, VALUE] / WEEK)[calm]
        assert weeks.tolist() == pytest.approx([_RARER / LINE] * len(weeks), rel=0.06)


def test_a_state_of_the_version_before_is_read_and_its_band_follows_from_the_next_full_hour_on(quiet):
    auto, newest = quiet
    state = {name: array for name, array in auto.state().items() if name != "stream_correction"}
    restored = Auto().restore(state)
    assert (restored.state()["stream_correction"] == 1).all()
    for hour in range(1, 4):
        sample = Batch(newest.keys, newest.channels, newest.times + HOUR * hour, newest.values)
        restored.score(sample)
        restored.update(sample, np.zeros(SERIES, np.bool_), np.zeros(SERIES, np.bool_))
    assert (restored.state()["stream_correction"] > 1).all()

"""Streams of evidence: a promise of every detector, and what `auto` names in each kind of incident."""

import numpy as np
import pytest

from detectors.calibration import score_of
from detectors.streams import (
    OUTSIDE,
    SHOWN_FROM,
    STREAMS,
    strongest,
)
from detectors.units import WEEK
from tests.detectors.test_conformance import WINDOW, fitted
from tests.support.batches import batch, noise
from tests.support.every_detector import every_detector

CALIBRATED = ("auto", "autoencoder", "lstm", "vae")
"""Detectors whose score is a return period."""


def spiked(channels: int = 1) -> np.ndarray:
    values = noise(20, channels, WINDOW)
    values[7, :, -1] += 40.0
    values[12, :, -1] -= 40.0
    return values


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", every_detector())
def test_every_score_that_could_open_an_incident_says_what_it_is_made_of(name: str, channels: int) -> None:
    found = fitted(name, channels).score(batch(spiked(channels)))
    told = found.streams
    assert told is not None
    rows, count = told.rows.tolist(), len(told.rows)
    assert rows == np.flatnonzero(found.score > SHOWN_FROM).tolist()
    assert {7, 12} <= set(rows)
    assert told.size.shape == told.period.shape == told.channel.shape == (count, len(STREAMS))
    assert told.by_hour.shape == (count,)
    assert len(told.names) == len(STREAMS)
    assert not np.isinf(told.size).any()
    assert (told.period[~np.isnan(told.period)] > 0).all()
    assert ((told.channel >= -1) & (told.channel < channels)).all()
    there = ~np.isnan(told.size) | ~np.isnan(told.period)
    assert there.any(axis=1).all()
    assert not there[:, OUTSIDE].any()


@pytest.mark.parametrize("name", every_detector())
def test_the_strongest_stream_agrees_with_the_score_and_has_its_side(name: str) -> None:
    found = fitted(name).score(batch(spiked()))
    told = found.streams
    most = strongest(told.size, told.period)
    strength = [
        float(told.period[row, at] if name in CALIBRATED else abs(told.size[row, at])) for row, at in enumerate(most)
    ]
    places = {entity: place for place, entity in enumerate(told.rows.tolist())}
    others = [strength[place] for entity, place in places.items() if entity not in (7, 12)]
    assert min(strength[places[7]], strength[places[12]]) > max(others, default=0.0)
    assert told.size[places[7], most[places[7]]] > 0 > told.size[places[12], most[places[12]]]
    if name in CALIBRATED:
        score = score_of(np.array(strength) / WEEK)
        assert (np.abs(np.log(score / found.score[told.rows])) < np.log(2.0)).all()


@pytest.mark.parametrize("name", every_detector())
def test_a_quiet_batch_costs_nothing_and_streams_say_nothing_of_scores_that_are_not_there(name: str) -> None:
    values = np.full((3, 1, WINDOW), np.nan)
    assert fitted(name).score(batch(values)).streams is None

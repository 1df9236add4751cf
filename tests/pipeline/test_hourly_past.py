"""The hourly past of a forecast in two bytes: what is lost of it, and that nothing depends on the order."""

import numpy as np
import pytest

from detectors.entity_state import EntityState
from exporter.context.passage import CELLS
from exporter.pipeline import hourly_past

HOURS = np.arange(CELLS)


def past_of(distances: np.ndarray, by_hour: bool = False) -> EntityState:
    entities = EntityState(hourly_past.COLUMNS)
    entities.align(tuple((("row", str(row)),) for row in range(len(distances))))
    for some in HOURS[:, np.newaxis] if by_hour else [HOURS]:
        hourly_past.put(entities, slice(None), some, distances[:, some])
    return entities


def walks(series: int = 300) -> np.ndarray:
    """Return walks of all sizes, on both sides of the limit, with gaps."""
    rng = np.random.default_rng(5)
    found = rng.standard_normal((series, CELLS)).cumsum(axis=1) * 10.0 ** rng.uniform(-12, 18, (series, 1))
    found[rng.random(found.shape) < 0.05] = np.nan
    return found


def test_what_is_lost_is_less_than_a_forecast_looks_at() -> None:
    distances = walks()
    read = hourly_past.read(past_of(distances), slice(None))
    largest = np.nanmax(np.abs(distances), axis=1, keepdims=True)
    assert np.nanmax(np.abs(read - distances) / largest) < 6.2e-5
    assert (np.isnan(read) == np.isnan(distances)).all()
    assert (np.sign(read) == np.sign(distances))[~np.isnan(distances)].all()


def test_it_is_the_same_to_the_bit_whether_it_came_hour_by_hour_or_at_once() -> None:
    distances = walks()
    one, other = past_of(distances), past_of(distances, by_hour=True)
    for name in hourly_past.COLUMNS:
        assert (one[name] == other[name]).all()


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1e-300, 32767.0, 32767.5, 2.0**15, 1e300, np.inf, np.nan])
def test_odd_distances_are_kept_or_missing(value: float) -> None:
    read = hourly_past.read(past_of(np.full((1, CELLS), -value)), slice(None))
    if not np.isfinite(value):
        assert np.isnan(read).all()
    elif value < 1e-290:
        assert (read <= 0).all()
    else:
        assert read == pytest.approx(-value, rel=1e-4)


def test_what_came_near_after_it_was_far_away_is_kept_more_finely_again() -> None:
    far, near = np.full((2, CELLS), 1e9), np.random.default_rng(1).random((2, CELLS))
    entities = past_of(far)
    hourly_past.put(entities, slice(None), HOURS, near)
    assert np.abs(hourly_past.read(entities, slice(None)) - near).max() > 1e3
    for _ in range(20):
        hourly_past.refine(entities, slice(0, None, 2))
        hourly_past.put(entities, slice(None), HOURS, near)
    read = hourly_past.read(entities, slice(None))
    assert np.abs(read[0] - near[0]).max() < 6.2e-5
    assert np.abs(read[1] - near[1]).max() > 1e3  # it was not looked at


def test_another_limit_moves_all_of_it() -> None:
    distances = walks(20)
    entities = past_of(distances)
    largest = np.nanmax(np.abs(distances), axis=1, keepdims=True)
    hourly_past.move(entities, -100.0)
    read = hourly_past.read(entities, slice(None))
    assert np.nanmax(np.abs(read - (distances - 100.0)) / (largest + 100.0)) < 2e-4


def test_states_of_earlier_versions_are_read() -> None:
    values = walks(20).astype(np.float32)
    found = hourly_past.of_values(values, limit=7.0)
    entities = EntityState(hourly_past.COLUMNS)
    entities.restore({"keys": past_of(walks(20)).state()["keys"], **found})
    distances = values.astype(np.float64) - 7.0
    largest = np.nanmax(np.abs(distances), axis=1, keepdims=True)
    assert np.nanmax(np.abs(hourly_past.read(entities, slice(None)) - distances) / largest) < 6.2e-5

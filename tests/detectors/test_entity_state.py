"""Rows follow their entities, whoever else comes and goes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.entity_state import Column, EntityState

NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def as_keys(names):
    return tuple((("name", name),) for name in names)


@given(st.lists(NAMES, max_size=12))
def test_state_stays_with_its_entity_and_newcomers_start_fresh(generations):
    roster, truth = EntityState({"seen": Column(0.0), "pair": Column(-1.0, (2,))}), {}
    for names in generations:
        roster.align(as_keys(names))
        truth = {name: truth.get(name, 0) for name in names}
        np.testing.assert_array_equal(roster["seen"], [truth[name] for name in names])
        roster["seen"] = roster["seen"] + 1
        truth = {name: count + 1 for name, count in truth.items()}
        assert roster["pair"].shape == (len(names), 2)


def test_a_view_leaves_the_state_as_it_is():
    roster = EntityState({"level": Column(0.0)})
    roster.align(as_keys("ab"))
    roster["level"] = np.array([1.0, 2.0])
    np.testing.assert_array_equal(roster.view(as_keys("bc"))["level"], [2.0, 0.0])
    np.testing.assert_array_equal(roster["level"], [1.0, 2.0])


def test_restore_gives_back_what_state_gave():
    roster = EntityState({"level": Column(0.0)})
    roster.align((((("a"), "ü\n"), ("b", '"')), (("a", "x"),)))
    roster["level"] = np.array([1.0, 2.0])
    other = EntityState({"level": Column(0.0)})
    other.restore(roster.state())
    assert other.keys == roster.keys
    np.testing.assert_array_equal(other["level"], [1.0, 2.0])


def test_a_state_without_a_column_is_refused():
    with pytest.raises(ValueError, match="lacks level"):
        EntityState({"level": Column(0.0)}).restore(EntityState({}).state())

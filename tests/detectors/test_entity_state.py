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


def test_where_an_axis_lies_in_memory_changes_nothing_else():
    plain, outer = (EntityState({"slots": Column(5.0, (2, 3), outer=axes)}) for axes in (0, 1))
    for names in ("ab", "bcd"):
        for state in (plain, outer):
            state.align(as_keys(names))
            state["slots"][1] += np.arange(6.0).reshape(2, 3)
            state["slots"].reshape(-1, 3)[0] *= 2  # the rows of an entity are rows of a view
    assert outer["slots"].shape == (3, 2, 3)
    assert outer["slots"][:, :, 1].flags.c_contiguous
    assert outer["slots"].tolist() == plain["slots"].tolist()
    assert outer.state()["slots"].tobytes() == plain.state()["slots"].tobytes()
    again = EntityState({"slots": Column(5.0, (2, 3), outer=1)})
    again.restore(plain.state())
    assert again["slots"].tolist() == plain["slots"].tolist()

"""What usually moves together is learnt from small moves too, within a bound."""

import numpy as np
import pytest

from exporter.context.joint_history import MOST_PAIRS, JointHistory, number_of
from exporter.context.small_moves import AT_ONCE, LASTS, SmallMoves
from tests.context.small import PAIRS, joined
from tests.support.verdicts import key

KEYS = tuple(key(service=f"s{n}") for n in range(100))
NOW = 1_800_000_000.0
NONE = np.zeros(100, bool)


def moving(small: SmallMoves, at: float, *rows: int) -> None:
    score = np.full(100, np.nan)
    score[list(rows)] = 0.8
    small.take("cpu", KEYS, score, NONE, NOW + at, 120.0)


def usual(small: SmallMoves, one: int, other: int) -> bool:
    return small.history.usual(number_of("cpu", KEYS[one]), number_of("cpu", KEYS[other]))


@pytest.mark.slow
def test_pairs_without_a_common_label_are_one_at_their_first_incident_and_strangers_are_not(fresh_seed: int) -> None:
    found = joined(fresh_seed, series=300, weeks=2)
    assert found.pairs >= PAIRS - 3
    assert found.strangers <= 1


def test_three_moves_together_are_needed_and_one_that_lasts_is_one() -> None:
    small = SmallMoves()
    for minute in range(30):
        moving(small, 60 * minute, 1, 2)
    assert not usual(small, 1, 2)
    for day in (1, 2):
        moving(small, 86_400 * day, 1)
        moving(small, 86_400 * day + 60, 2)
    assert usual(small, 1, 2)
    assert not usual(small, 1, 3)
    again = SmallMoves(small.history.saved())
    assert usual(again, 1, 2)


def test_series_that_mostly_move_alone_do_not_belong_together() -> None:
    small = SmallMoves()
    for day in range(20):
        moving(small, 86_400 * day, 1)
        moving(small, 86_400 * day + (0 if day < 3 else 7200), 2)
    assert not usual(small, 1, 2)


def test_what_moves_with_all_teaches_nothing_and_little_is_noted_at_once() -> None:
    small = SmallMoves()
    for day in range(5):
        moving(small, 86_400 * day, *range(100))
    noted = len(small.history.saved().opened)
    assert noted <= 5 * AT_ONCE
    assert noted > 0
    small.take("cpu", KEYS, np.full(100, np.nan), NONE, NOW + 86_400 * 6 + LASTS, 120.0)
    assert len(small.history.saved().opened) == noted


def test_pairs_of_once_do_not_displace_those_that_come_again() -> None:
    history = JointHistory()
    for _ in range(2):
        history.learn(1, [2])
    for number in range(MOST_PAIRS + 10):
        history.learn(3, [number + 10])
    assert history.usual(1, 2)
    assert len(history.saved().together) <= 2 * MOST_PAIRS

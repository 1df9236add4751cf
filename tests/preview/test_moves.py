"""How long a move of the workbench takes: 100 series over two weeks of minutes, with four hundred incidents."""

import time

import pytest

from exporter.preview.outcome import Outcome
from exporter.web.ui.bench import Choice
from tests.support.workbench import outcome

ENTITIES, SAMPLES = 100, 15 * 1440


@pytest.fixture(scope="module")
def tried() -> Outcome:
    return outcome(ENTITIES, SAMPLES)


def test_a_move_takes_less_than_a_tenth_of_a_second(tried):
    spent = []
    for repeat in range(4):
        for choice in (Choice("above", 2.0), Choice("both", 2.1 + repeat), Choice("below", 0.0), Choice("both", 0.0)):
            began = time.process_time()
            decided = tried.decide(choice)
            spent.append((time.process_time() - began, choice))
            assert decided.found > 150
    for direction in ("above", "below", "both"):
        assert min(seconds for seconds, choice in spent if choice.direction == direction) < 0.1

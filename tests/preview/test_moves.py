"""How long a move of the workbench takes: 100 series over two weeks of minutes, with four hundred incidents."""

import time

import numpy as np
import pytest

from exporter.config.sections.job import JobConfig
from exporter.preview.outcome import Outcome
from exporter.preview.tape import Tape
from exporter.web.ui.bench import Choice

ENTITIES, SAMPLES = 100, 15 * 1440
DAY = 1440


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """Return what a replay would have written down, without its forty seconds."""
    rng = np.random.default_rng(8)
    tape = Tape(SAMPLES, 1)
    for entity in range(ENTITIES):
        tape.keys[(("instance", f"{entity:03}"),)] = entity
    tape._room(SAMPLES, ENTITIES)
    tape._times[:] = 60.0 * (29_000_000 + np.arange(SAMPLES))
    tape.count = SAMPLES
    tape["there"][:] = True
    for name, value in (("expected", 50.0), ("lower", 45.0), ("upper", 55.0), ("contribution", 1.0)):
        tape[name][:] = value
    tape["value"][:] = 50 + rng.normal(size=(SAMPLES, ENTITIES, 1))
    tape["score"][:] = np.abs(rng.normal(0, 0.15, (SAMPLES, ENTITIES)))
    for entity in range(ENTITIES):
        for start in rng.integers(300, SAMPLES - 90, 4):
            part = slice(start, start + int(rng.integers(1, 90)))
            tape["value"][part, entity] += rng.choice([-1, 1]) * rng.uniform(3, 40)
            tape["score"][part, entity] = rng.uniform(1.2, 9.0)
    job = JobConfig.model_validate({"expr": "value", "history": "1d"})
    return Outcome("new", job, tape, DAY)


def test_a_move_takes_less_than_a_tenth_of_a_second(outcome):
    spent = []
    for repeat in range(4):
        for choice in (Choice("above", 2.0), Choice("both", 2.1 + repeat), Choice("below", 0.0), Choice("both", 0.0)):
            began = time.process_time()
            decided = outcome.decide(choice)
            spent.append((time.process_time() - began, choice))
            assert decided.found > 150
    for direction in ("above", "below", "both"):
        assert min(seconds for seconds, choice in spent if choice.direction == direction) < 0.1

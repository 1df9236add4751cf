"""A short pass of every fuzz target, the same in each run: `make fuzz` goes on where it ends."""

import pytest

from tests.fuzz.mutations import mutations
from tests.fuzz.target import TARGETS, target

INPUTS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_gives_a_value_or_a_clear_error_of_ours(name: str) -> None:
    """Rows 14 to 16, 25, 30 and 35: never another exception, whatever comes."""
    chosen = target(name)
    read = sum(chosen.check(data) for data in mutations(chosen.seeds, INPUTS))
    assert read or not chosen.seeds, "even the honest ones were refused"

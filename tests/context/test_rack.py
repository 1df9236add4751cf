"""A rack that fails, through the cycle of two jobs: one message that names who moved first."""

import pytest

from tests.context.rack import outcome, world


@pytest.mark.slow
def test_a_failing_rack_is_one_message_and_its_first_mover_is_mostly_named(fresh_seed: int) -> None:
    found = [outcome(world(fresh_seed + number)) for number in range(3)]
    assert max(each.messages for each in found) <= 2
    assert sum(each.messages for each in found) >= 2
    assert all(each.series >= 40 for each in found)
    assert all(each.foreign <= 2 for each in found)
    assert any(each.named for each in found)  # 9 of 10, see docs/context.md

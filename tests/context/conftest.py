"""What tests of context share."""

import random

import pytest


@pytest.fixture
def fresh_seed() -> int:
    """A seed of this run, which a failure prints."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    return seed

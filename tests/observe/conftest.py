"""No thread outlives its test."""

import threading

import pytest

from tests.support.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _no_thread_left():
    """Wait for the SDK's threads: one that retries draws random numbers, which upsets hypothesis in later tests."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive(), thread.name

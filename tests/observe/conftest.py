"""No thread outlives its test, and logging is left as it was."""

import logging
import threading

import pytest
import structlog

from tests.support.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _no_thread_left():
    """Wait for the SDK's threads: one that retries draws random numbers, which upsets hypothesis in later tests."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive(), thread.name


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()

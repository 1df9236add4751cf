"""Waiting for what other threads, processes and servers do, however busy the machine is."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

Result = TypeVar("Result")

PATIENCE: Final = 120.0
"""Seconds after which a test gives up waiting: no machine is as busy as that, so it never comes."""


def eventually(condition: Callable[[], Result], within: float = PATIENCE, every: float = 0.05) -> Result:
    """Return the first true result of `condition`; fail with its last one after `within` seconds.

    What `condition` raises ends the waiting: so it can say that what it waits for cannot come any more.
    """
    end = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < end, f"not within {within:g}s; last: {result!r}"
        time.sleep(every)
    return result

"""How many rows a detector works on at once.

In a cycle short blocks keep what is in between in the processor's cache, and memory low. Judging the past, one time
after the other, the calls of numpy cost more than that. Rows do not look at each other, so the results are the same to
the bit, however they are cut.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

LONG: Final = 6
"""Times as many rows a block has at most while the past is judged. One of 10,000 series takes a tenth less time than
two of 5,000, and these a fifth to a quarter less than ten of 1,024. Threads do not help: of two, each waits for the
interpreter as often as for numpy."""
_long: ContextVar[bool] = ContextVar("long", default=False)


@contextmanager
def long_blocks(long: bool) -> Iterator[None]:
    """Let `slices` be long as long as this lasts, if they shall be."""
    token = _long.set(long)
    try:
        yield
    finally:
        _long.reset(token)


def slices(count: int, rows: int) -> list[slice]:
    """Return slices of at most `rows` of `count` rows; of long blocks fewer, of the same length.

    Examples
    --------
    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    >>> with long_blocks(True):
    ...     slices(5, 2)
    [slice(0, 5, None)]
    """
    if _long.get() and count > rows:
        rows = -(-count // -(-count // (LONG * rows)))
    return [slice(first, min(first + rows, count)) for first in range(0, count, rows)]

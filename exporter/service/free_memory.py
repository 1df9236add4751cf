"""Memory that is free: used again by all threads, and given back to the system."""

import ctypes
from typing import Final

_ARENAS: Final = -8
"""`M_ARENA_MAX` of glibc's `malloc.h`."""


def share_one_heap() -> None:
    """Have all threads take memory from one heap. To be called before there are any.

    glibc gives each thread a heap of its own, and what the reading thread has freed is of no use to the judging one: a
    start of 20,000 series took up to 318 MiB instead of 226. Nothing gets slower: whoever asks for memory holds
    Python's lock, with few exceptions. Elsewhere than with glibc this does nothing.
    """
    _call("mallopt", _ARENAS, 1)


def give_back() -> None:
    """Give back what the C library keeps for later; after a first fill that is a sixth of all memory at 100,000 series.

    It takes about 20 ms. Elsewhere than with glibc it does nothing.
    """
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        getattr(ctypes.CDLL(None), name)(*arguments)
    except (AttributeError, OSError, TypeError):
        return

"""Memory that is free, given back to the system."""

import ctypes


def give_back() -> None:
    """Give back what the C library keeps for later; after a first fill that is a sixth of all memory at 100,000 series.

    It takes about 20 ms. Elsewhere than with glibc it does nothing.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return

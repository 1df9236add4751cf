"""A crash leaves no copy of the memory on a disk: there are passwords and tokens in it."""

import faulthandler
import resource
import sys
from contextlib import suppress
from typing import Final

_NONE: Final = 1
"""Bytes. Of a core file none is begun that cannot be finished; where the kernel hands dumps to a program, 0 would mean
no limit, and 1 is what it takes for none."""


def without_core_dumps() -> None:
    """Turn core dumps off, for this process and those that it starts; a crash prints the lines that were running."""
    with suppress(OSError, ValueError):  # a limit that somebody has set lower stays
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        most = _NONE if hard == resource.RLIM_INFINITY else min(_NONE, hard)
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    if not faulthandler.is_enabled():
        with suppress(OSError, ValueError, AttributeError):  # no standard error, or one without a descriptor
            faulthandler.enable(sys.stderr)  # names and lines, no values

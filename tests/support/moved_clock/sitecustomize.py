"""A clock that is set otherwise in every Python process that finds this folder: `MOVED_CLOCK` seconds ahead.

`MOVED_CLOCK` may be a file that holds them, to set the clock while the process runs; waiting stays as it is.
"""

import os
import time

_said, _really = os.environ.get("MOVED_CLOCK", "0"), time.time


def _ahead() -> float:
    if not _said.startswith("/"):
        return float(_said)
    with open(_said) as file:
        return float(file.read() or 0)


time.time = lambda: _really() + _ahead()

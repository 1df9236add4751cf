"""A clock that is set otherwise in every Python process that finds this folder: `MOVED_CLOCK` seconds ahead."""

import os
import time

_ahead, _really = float(os.environ.get("MOVED_CLOCK", "0")), time.time
time.time = lambda: _really() + _ahead

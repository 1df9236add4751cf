"""What a process holds, as the kernel sees it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

MIB: Final = 2**20


class Usage(NamedTuple):
    """Of one process at one moment."""

    resident: int
    """Bytes."""
    descriptors: int
    threads: int


def usage(pid: int) -> Usage:
    """Return what a process holds now."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Usage(
        1024 * int(status["VmRSS"].split()[0]), len(os.listdir(process / "fd")), int(status["Threads"].strip())
    )


def growth(cycles: Sequence[float], resident: Sequence[int]) -> float:
    """Return by how many MiB the memory grows in 1,000 cycles: the slope of a straight line."""
    if len(cycles) < 2:
        return float("nan")
    return float(np.polyfit(cycles, np.array(resident) / MIB, 1)[0]) * 1000

"""What a process uses, as the kernel counts it."""

import os
from pathlib import Path


def memory(pid: int | str) -> dict[str, float]:
    """Return resident memory now and its highest value so far, in MiB.

    Not ru_maxrss: a new process starts with the highest value of the one that started it.
    """
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(status[field].split()[0]) / 1024 for name, field in (("rss", "VmRSS"), ("peak", "VmHWM"))}


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""How texts tell joint incidents: incidents of several series that are one."""

from collections.abc import Mapping
from typing import Final

from exporter import incident_wording as wording

LONGEST: Final = 200
"""Characters of the name of a series in a sentence."""
ONE_OF: Final = "one of {count} series that moved together; {first} moved first"

LARGEST: Final = " {count} series moved together; {first} moved first."


def series_told(job: str, labels: Mapping[str, str]) -> str:
    """Write which series of which job it is.

    >>> series_told("latency", {"service": "db"})
    'service=db in latency'
    """
    text = ", ".join(f"{name}={value}" for name, value in labels.items())
    text = f"{text[: LONGEST - 1]}…" if len(text) > LONGEST else text
    return f"{text} in {job}" if text else job


def one_of(count: int, first: str, at: float, now: float) -> str:
    """Write that an incident is one of `count`, and which series moved first, at `at`; times in Unix seconds.

    >>> one_of(40, "service=db in latency", 1767607560.0, 1767607800.0)
    'one of 40 series that moved together; service=db in latency moved first, at 10:06 UTC'
    """
    return f"{ONE_OF.format(count=count, first=first)}, at {wording.moment(at, wording.is_dated(at, now))} UTC"


def together(count: int, jobs: int, shared: Mapping[str, str]) -> str:
    """Write how many series of how many jobs moved together, and by which label that was told.

    >>> together(40, 3, {"rack": "r7"}), together(2, 1, {})
    ('40 series of 3 jobs moved together (rack=r7)', '2 series moved together')
    """
    of = f" of {jobs} jobs" if jobs > 1 else ""
    by = f" ({', '.join(f'{name}={value}' for name, value in shared.items())[:LONGEST]})" if shared else ""
    return f"{count} series{of} moved together{by}"

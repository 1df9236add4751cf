"""How the cycles of a job go, for people: what `observe.metrics` counts has no text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Health:
    """How a job stands after a cycle; replaced as a whole, so that every reader sees one moment.

    Parameters
    ----------
    cycles, failures : int
        Cycles since the start, and those of them that failed.
    last_success : float or None
        Unix seconds at which the last cycle succeeded.
    seconds : float or None
        How long the last cycle took.
    progress : float
        Share of its history that the job has replayed, from 0 to 1.
    warming : int
        Entities of a job that replays its history.
    remaining : float or None
        Seconds that this will still take, None where nobody knows.
    first_look : bool
        Whether scores of a first look are shown meanwhile.
    reason, error : str
        Why the last cycle failed: one of the reasons of `exporter.source.errors` or `internal`, and the whole message
        without secrets; "" where it did not fail.
    failing_since : float or None
        Unix seconds of the first of the cycles that have failed since the last success.
    queries : tuple of (str, str)
        Channel and PromQL as the source is asked, with the rates that were added; () before the first answer.
    """

    cycles: int = 0
    failures: int = 0
    last_success: float | None = None
    seconds: float | None = None
    progress: float = 0.0
    warming: int = 0
    remaining: float | None = None
    first_look: bool = False
    reason: str = ""
    error: str = ""
    failing_since: float | None = None
    queries: tuple[tuple[str, str], ...] = ()

    def succeeded(self, now: float, queries: Mapping[str, str]) -> "Health":
        """Return how the job stands after a cycle at `now` (Unix seconds) that succeeded."""
        return replace(
            self,
            cycles=self.cycles + 1,
            last_success=now,
            warming=0,
            remaining=None,
            first_look=False,
            reason="",
            error="",
            failing_since=None,
            queries=tuple(queries.items()),
        )

    def failed(self, reason: str, error: str, now: float) -> "Health":
        """Return how the job stands after a cycle at `now` (Unix seconds) that failed."""
        since = now if self.failing_since is None else self.failing_since
        return replace(
            self,
            cycles=self.cycles + 1,
            failures=self.failures + 1,
            reason=reason,
            error=error,
            failing_since=since,
        )


UNKNOWN: Final = Health()
"""Of a job before its first cycle."""

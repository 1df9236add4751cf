"""What became of a training: one JSON line, an exit code, a record in the store."""

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

Kind = Literal["promoted", "rejected", "failed", "skipped", "candidate", "passed"]
ENDS: Final = ("promoted", "rejected", "failed", "skipped")
"""How a whole training may end; the other kinds are those of a single stage."""


class TrainOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one job, or of one replica's part of it.

    Parameters
    ----------
    shard : str
        `0/1` where there is one replica.
    outcome : str
        `candidate` and `passed` come of a single stage.
    version : str
        The model it is about, "" where there is none.
    reason : str
        A sentence for people.
    trigger : str
        What called for the training.
    figures : dict of str to float
        What the gate saw; those of the active model begin with `old_`.
    seconds : float
    time : float
        Unix seconds at which it began.
    attempted : float
        Unix seconds at which the last training began that came to an end, be it this one.
    known : int
        Incidents in the file at that time.
    """

    job: str
    shard: str
    outcome: Kind
    version: str = ""
    reason: str = ""
    trigger: str = ""
    figures: dict[str, float | None] = {}
    seconds: float = 0.0
    time: float = 0.0
    attempted: float = 0.0
    known: int = 0

    def line(self) -> str:
        """Return it as one line of JSON."""
        return msgspec.json.encode(self).decode()

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        record: dict[str, Any] = msgspec.to_builtins(self)
        return record


def exit_code(outcomes: Iterable[TrainOutcome]) -> int:
    """Return 1 if any failed, else 0: a rejected model is what the gate is for, and no failed Job."""
    return int(any(outcome.outcome == "failed" for outcome in outcomes))

"""What the workbench's pages ask for: handed in by the service, since replays stand above this room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from exporter.web.ui.preview_answers import Direction, MetricNames, Preview


@dataclass(frozen=True, slots=True)
class Choice:
    """What may be moved without another replay.

    Parameters
    ----------
    direction : str
    least_deviation : float
        In the unit of the metric.
    budget : float
        Alerts a week.
    """

    direction: Direction = "both"
    least_deviation: float = 0.0
    budget: float = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """A job that is tried.

    Parameters
    ----------
    expr : str
        PromQL; "" where there are `channels`.
    name : str
        Of the job.
    step, seconds : float
        Seconds between samples, and of the range, which ends now.
    choice : Choice
    channels : mapping of str to str
        PromQL by channel, for a job of several.
    job : str
        Job of the configuration whose other settings are taken over, "" for none.
    """

    expr: str = ""
    name: str = "new-job"
    step: float = 60.0
    seconds: float = 14 * 86_400.0
    choice: Choice = field(default_factory=Choice)
    channels: Mapping[str, str] = field(default_factory=dict)
    job: str = ""


class Refused(Exception):
    """A replay cannot be begun. The message says why and what to do."""


class Gone(Exception):
    """There is no such replay any more. The message says what to do."""

    def __init__(self) -> None:
        super().__init__(
            "This replay has ended: nobody asked for it any more, or the exporter was restarted. Start it again."
        )


class Off(Exception):
    """There is no workbench here. The message says how to have one."""

    def __init__(self) -> None:
        super().__init__(
            "The workbench is off. It sends queries to the source for whoever asks, so it needs web.users, or "
            "web.workbench: true where everybody who reaches this port may."
        )


class Bench(Protocol):
    """Runs replays, each in a process of its own."""

    def warm_up(self) -> None:
        """Get ready for a replay that will probably be asked for soon; returns at once."""
        ...

    def start(self, question: Question) -> str:
        """Begin a replay; return what it is asked for with. Raises Refused."""
        ...

    def start_past(self, jobs: Sequence[str], seconds: float) -> str:
        """Begin to look what jobs of the configuration would have found, up to now. Raises Refused."""
        ...

    def answer(self, preview: str, choice: Choice | None = None, rows: Sequence[int] = ()) -> Preview:
        """Return how a replay stands, by the settings of `choice`, with the curves of `rows`. Raises Gone."""
        ...

    def cancel(self, preview: str) -> None:
        """End a replay; one that is gone is not missed."""
        ...

    def metrics(self, part: str, most: int) -> MetricNames:
        """Return metrics of the source whose names hold `part`. Raises SourceError."""
        ...

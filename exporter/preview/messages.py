"""What the exporter and the process of a replay say to each other: a JSON object in a line each way."""

from typing import Any, Literal

import msgspec

from exporter.web.ui.preview_answers import Decided, Direction, Past


class Try(msgspec.Struct, tag="try"):
    """Replay a job, the samples from `start` to `end` (Unix seconds), after learning from so many seconds before.

    The exact replay runs on the Dask `cluster` of that address, if there is one.
    """

    prometheus: dict[str, Any]
    limits: dict[str, Any]
    cluster: str | None
    name: str
    job: dict[str, Any]
    start: float
    end: float
    learn: float


class LookBack(msgspec.Struct, tag="look back"):
    """Say what the `wanted` jobs of a configuration would have found from `start` to `end` (Unix seconds).

    They are judged on the Dask `cluster` of that address, if there is one.
    """

    prometheus: dict[str, Any]
    limits: dict[str, Any]
    cluster: str | None
    jobs: dict[str, dict[str, Any]]
    wanted: list[str]
    start: float
    end: float


class Decide(msgspec.Struct, tag="decide"):
    """Decide by other settings; `rows` are series whose curves are wanted, none: those of the worst."""

    number: int
    direction: Direction
    least_deviation: float
    budget: float
    rows: list[int]


class Progress(msgspec.Struct, tag="progress"):
    """How far the replay is."""

    share: float
    text: str


class Shown(msgspec.Struct, tag="shown"):
    """Something can be shown: what was found at a coarser step, or at the job's own."""

    state: Literal["first look", "exact"]
    start: float
    end: float
    step: float
    learnt: float
    series: int
    samples: int


class Answer(msgspec.Struct, tag="answer"):
    """The answer to a `Decide` of that number."""

    number: int
    decided: Decided


class Found(msgspec.Struct, tag="found"):
    """The answer to a `LookBack`."""

    past: Past


class Failed(msgspec.Struct, tag="failed"):
    """The replay has failed; `text` says what happened and what to do, `detail` is for the log: a defect."""

    text: str
    detail: str = ""


Told = Progress | Shown | Answer | Found | Failed
Asked = Try | LookBack | Decide
TOLD = msgspec.json.Decoder(Told)
ASKED = msgspec.json.Decoder(Asked)

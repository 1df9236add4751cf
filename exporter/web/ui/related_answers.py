"""The answer to what else moved."""

from typing import Annotated

from msgspec import Meta, Struct


class Companion(Struct):
    """A series that moved at about the same time."""

    job: Annotated[str, Meta(description="name of the job that judges it; empty for one of the expression")]
    channel: str
    labels: dict[str, str]
    before: Annotated[float | None, Meta(description="level before")]
    after: Annotated[float | None, Meta(description="level after")]
    size: Annotated[float, Meta(description="change in units of the series' own usual changes")]
    chance: Annotated[float, Meta(description="share of series that move so much around any moment")]
    by_chance: Annotated[float, Meta(description="how many of those compared move so much around any moment")]
    text: Annotated[str, Meta(description="the same in a sentence")]
    link: Annotated[str, Meta(description="address of its page, relative to /; empty where it has none")]


class Related(Struct):
    """What else moved around the beginning of an incident, the most unusual first."""

    job: str
    labels: dict[str, str]
    around: Annotated[str | None, Meta(description="the time that is meant")]
    compared: Annotated[int, Meta(description="series that were compared")]
    companions: list[Companion]
    notes: Annotated[list[str], Meta(description="what could not be compared, and why")]

"""Answers about incidents of several series that are one."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Because = Annotated[
    Literal["alone", "labels", "history", "time"],
    Meta(description="share a label that few series have; opened together before; more than chance opened at once"),
]


class Mover(Struct):
    """A series of a joint incident."""

    id: Annotated[str, Meta(description="of the series: the same for ever")]
    job: str
    labels: dict[str, str]
    moved: Annotated[str | None, Meta(description="first sample out of its band")]
    since: Annotated[str | None, Meta(description="when its incident began")]
    until: str | None
    alerted: bool
    link: Annotated[str, Meta(description="address of its page, relative to /; empty where another replica has it")]
    judged_by: Annotated[
        str, Meta(description="another replica that judges it, as Prometheus knows it; empty: this exporter")
    ] = ""


class JointIncident(Struct):
    """Incidents of several series that are one."""

    id: Annotated[str, Meta(description="the same as long as one of them is open, over restarts too")]
    open: Annotated[int, Meta(description="how many of them are open")]
    series: Annotated[int, Meta(description="how many there were")]
    jobs: list[str]
    because: Because
    shared: Annotated[dict[str, str], Meta(description="the label that told it, where one did")]
    text: Annotated[str, Meta(description="how many moved together, and which moved first, in a sentence")]
    movers: Annotated[list[Mover], Meta(description="those that moved first, in that order")]

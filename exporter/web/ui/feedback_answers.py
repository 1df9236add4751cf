"""What the API and the pages say of the answers of people. Times are text, None means "not known"."""

from typing import Annotated

from msgspec import Meta, Struct

from exporter.pipeline.expectation import When
from exporter.sinks.feedback import Kind
from exporter.web.ui.answers import JobName, Labels, Link


class Size(Struct):
    """Up to where values of a channel outside their band are expected; null: none on that side are."""

    channel: str
    low: float | None
    high: float | None


class Answer(Struct):
    """What somebody answered to an incident."""

    id: str
    kind: Annotated[Kind, Meta(description="expected, normal (accepted), silence, incident (it was a real one)")]
    job: JobName
    labels: Labels
    since: Annotated[str | None, Meta(description="when the incident began")]
    over: Annotated[str | None, Meta(description="when it ended; null: it was open when it was answered")]
    at: Annotated[str | None, Meta(description="when it was answered: it holds for later samples")]
    who: str
    why: str
    stands: Annotated[bool, Meta(description="whether it was neither taken back nor has come to its end")]
    when: Annotated[When | None, Meta(description="what is expected: this incident, the same time of the week …")] = (
        None
    )
    limits: Annotated[list[Size], Meta(description="how large an expected incident may be")] = []
    longest: Annotated[float | None, Meta(description="seconds that an expected incident may last")] = None
    until: Annotated[str | None, Meta(description="when it ends by itself")] = None
    silence: Annotated[str | None, Meta(description="id of the silence in Alertmanager")] = None
    undone: Annotated[str | None, Meta(description="when it was taken back")] = None
    undone_by: str | None = None
    told: Annotated[str, Meta(description="what it says, after its kind")] = ""
    link: Link = ""


class Answers(Struct):
    """Answers, the newest first."""

    at: str | None
    total: Annotated[int, Meta(description="how many match")]
    offset: int
    next: Annotated[int | None, Meta(description="offset of the next page; null after the last one")]
    note: Annotated[str, Meta(description="why none can be given now; empty where it can")]
    answers: list[Answer]


class Given(Struct):
    """An answer that was just given or taken back."""

    answer: Answer
    note: Annotated[str, Meta(description="what happens now")]


class NewAnswer(Struct, forbid_unknown_fields=True):
    """An answer to an incident. The series is named by its labels or by its digest."""

    kind: Kind
    job: JobName
    why: Annotated[str, Meta(description="for those who read it later")]
    labels: Labels | None = None
    id: Annotated[str | None, Meta(description="digest of the series, instead of labels")] = None
    since: Annotated[
        float | None, Meta(description="when the incident began, Unix seconds; null: the open one, or the newest")
    ] = None
    who: Annotated[str | None, Meta(description="who answers, where there is no login; a login goes before it")] = None
    when: Annotated[When, Meta(description="only for expected")] = "once"
    margin: Annotated[float, Meta(description="expected may be so many percent larger than this one")] = 20.0
    longest: Annotated[
        float | None, Meta(description="seconds that an expected incident may last; null: twice as long as this one")
    ] = None
    until: Annotated[
        str | float | None, Meta(description="optional end: Unix seconds, ISO 8601, or a duration such as 30d")
    ] = None

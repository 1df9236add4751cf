"""The answers on what was sent to whom about an incident. Times are text; None means "not known"."""

from typing import Annotated

from msgspec import Meta, Struct

from exporter.sinks.notify.sent_log import What


class Message(Struct):
    """A message that the exporter itself sent on an incident."""

    at: str | None
    receiver: Annotated[str, Meta(description="key of the receiver in notify")]
    what: Annotated[What, Meta(description="what it told: the beginning, a change of the same message, or the end")]


class RoutedAlert(Struct):
    """An alert of a series that Alertmanager has now."""

    alert: Annotated[str, Meta(description="name of the alert")]
    receivers: Annotated[list[str], Meta(description="receivers of Alertmanager that it is routed to")]
    since: str | None
    held_back: Annotated[bool, Meta(description="silenced or inhibited: nobody gets a message now")]
    told: Annotated[str, Meta(description="where it goes, or who silenced it, until when and why")]

"""What messages show of our own pages: addresses and pictures, handed in by the service, which stands above us."""

from collections.abc import Callable
from dataclasses import dataclass

from detectors.types import Key
from exporter.sinks.notify.notification import Incident


def _nowhere(_job: str, _key: Key, _since: float) -> str:
    return ""


def _nothing(_incident: Incident) -> None:
    return None


def _no_companions(_incident: Incident) -> str:
    return ""


def _ready() -> None:
    pass


@dataclass(frozen=True, slots=True)
class OurPages:
    """Where messages lead, and what they show.

    Parameters
    ----------
    home : callable returning str
        Address of what is wrong now.
    incident : callable taking job, key and beginning of an incident (Unix seconds)
        Returns the address of its page, "" where there are no pages.
    picture : callable taking an Incident
        Returns a PNG of value, band and incident, None where nothing is known to draw.
    companions : callable taking an Incident
        Returns in a sentence which other series moved when it began, "" where none surely did.
    warm_up : callable
        Gets ready to draw the first picture; returns at once.
    """

    home: Callable[[], str]
    incident: Callable[[str, Key, float], str] = _nowhere
    picture: Callable[[Incident], bytes | None] = _nothing
    companions: Callable[[Incident], str] = _no_companions
    warm_up: Callable[[], None] = _ready

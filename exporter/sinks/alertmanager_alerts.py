"""What Alertmanager knows of the alerts of a series now: who gets them, and whether they are held back."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote as escaped

import msgspec

from detectors.types import Key
from exporter.config.sections.train import Endpoint
from exporter.json_values import typed_json
from exporter.promql import quote
from exporter.sinks.silences import known_as
from exporter.source.endpoint import session_to
from exporter.source.errors import SourceError
from exporter.source.http_session import Session

_PATIENCE: Final = 2.0
"""Seconds that a page waits for Alertmanager at most."""
_MOST_SILENCES: Final = 3


class Unreachable(Exception):
    """Alertmanager does not tell. The message says why."""


@dataclass(frozen=True, slots=True)
class Silence:
    """What holds an alert back: by whom, until when (Unix seconds), and why."""

    who: str
    until: float
    why: str


@dataclass(frozen=True, slots=True)
class Routed:
    """An alert in Alertmanager.

    Parameters
    ----------
    name : str
    receivers : sequence of str
        Who gets it, unless it is held back.
    since : float
        Unix seconds.
    silences : sequence of Silence
    silenced, inhibited : bool
        Whether silences, or other alerts, hold it back.
    """

    name: str
    receivers: Sequence[str]
    since: float
    silences: Sequence[Silence]
    silenced: bool
    inhibited: bool


class _Name(msgspec.Struct):
    name: str


class _Status(msgspec.Struct, rename="camel"):
    silenced_by: list[str] = []
    inhibited_by: list[str] = []


class _Alert(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    status: _Status
    starts_at: datetime
    receivers: list[_Name] = []


class _Silence(msgspec.Struct, rename="camel"):
    ends_at: datetime
    created_by: str = ""
    comment: str = ""


def alerts_of(endpoint: Endpoint, job: str, key: Key) -> list[Routed]:
    """Return the alerts of a series that Alertmanager has now. Raises Unreachable."""
    return [routed for routed, _ in _alerts(endpoint, known_as(job, key))]


def labels_of(endpoint: Endpoint, job: str, key: Key) -> dict[str, str]:
    """Return the labels by which the alerts of a series are known to Alertmanager.

    Where they depend on how Prometheus scrapes us, its alerts of now are looked at; without any it is Prometheus 3.
    """
    forms = known_as(job, key)
    if len(forms) > 1:
        with suppress(Unreachable):  # then the silence will fail, and say why
            for _, labels in _alerts(endpoint, forms):
                return next(form for form in forms if form.items() <= labels.items())
    return forms[0]


def _alerts(endpoint: Endpoint, forms: Sequence[Mapping[str, str]]) -> list[tuple[Routed, dict[str, str]]]:
    """Return the alerts that have all labels of one of the forms, with their labels. Raises Unreachable."""
    wanted = dict(set.intersection(*(set(form.items()) for form in forms)))
    short = endpoint.model_copy(update={"deadline": min(endpoint.deadline, _PATIENCE)})
    asked = "&".join(f"filter={escaped(f'{name}={quote(value)}')}" for name, value in wanted.items())
    try:
        with session_to(short, retries=0) as session:
            body = session.request("GET", f"{short.url}/api/v2/alerts?{asked}").content
            found = typed_json(body, list[_Alert])
            ours = [each for each in found if any(form.items() <= each.labels.items() for form in forms)]
            return [(_routed(session, short, each), each.labels) for each in ours]
    except SourceError as error:
        raise Unreachable(f"Alertmanager did not answer: {error}") from None
    except ValueError:
        raise Unreachable(f"{endpoint.url} answers something else than alerts; look at train.alertmanager") from None


def _routed(session: Session, endpoint: Endpoint, alert: _Alert) -> Routed:
    status = alert.status
    return Routed(
        name=alert.labels.get("alertname", ""),
        receivers=[each.name for each in alert.receivers],
        since=alert.starts_at.timestamp(),
        silences=[_silence(session, endpoint, each) for each in status.silenced_by[:_MOST_SILENCES]],
        silenced=bool(status.silenced_by),
        inhibited=bool(status.inhibited_by),
    )


def _silence(session: Session, endpoint: Endpoint, name: str) -> Silence:
    body = session.request("GET", f"{endpoint.url}/api/v2/silence/{escaped(name, safe='')}").content
    found = typed_json(body, _Silence)
    return Silence(found.created_by, found.ends_at.timestamp(), found.comment)

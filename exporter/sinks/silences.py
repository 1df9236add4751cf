"""Silences in Alertmanager, over its API v2."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from detectors.types import Key
from exporter.config.sections.train import Endpoint
from exporter.json_values import typed_json
from exporter.label_names import possible_keys
from exporter.source.endpoint import session_to
from exporter.source.errors import SourceError

_OVER: Final = ("404", "already expired", "not found")
"""How Alertmanager says that a silence cannot be ended any more."""


class NotSilenced(Exception):
    """Alertmanager did not take a silence. The message says why and what to do."""


class _Made(msgspec.Struct, rename={"id": "silenceID"}):
    id: str


def known_as(job: str, key: Key) -> list[dict[str, str]]:
    """Return the labels that alerts of a series may have in Alertmanager, all of them compared as a whole.

    Mostly there is one answer; names such as `service.name` are there in the form in which our page was scraped. The
    first answer is that of Prometheus 3.
    """
    return [{"query": job, **dict(labels)} for labels in possible_keys(key)]


def silence(endpoint: Endpoint, labels: Mapping[str, str], start: float, end: float, who: str, why: str) -> str:
    """Silence the alerts with these labels from `start` to `end` (Unix seconds); return its id. Raises NotSilenced."""
    content = {
        "matchers": [
            {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()
        ],
        "startsAt": _time(start),
        "endsAt": _time(end),
        "createdBy": who,
        "comment": why,
    }
    body = _ask(endpoint, "POST", "silences", json=content)
    try:
        return typed_json(body, _Made).id
    except ValueError:
        raise NotSilenced(f"{endpoint.url} answers something else than a silence; look at train.alertmanager") from None


def expire(endpoint: Endpoint, silence: str) -> None:
    """End a silence; one that is over or unknown is as good. Raises NotSilenced."""
    try:
        _ask(endpoint, "DELETE", f"silence/{silence}")
    except NotSilenced as error:
        if not any(told in str(error) for told in _OVER):
            raise


def _ask(endpoint: Endpoint, method: str, path: str, **content: Any) -> bytes:
    try:
        with session_to(endpoint, retries=0) as session:  # not again: an answer that was lost is a silence all the same
            return session.request(method, f"{endpoint.url}/api/v2/{path}", **content).content
    except SourceError as error:
        raise NotSilenced(f"Alertmanager did not take it: {error}; look at train.alertmanager") from None


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()

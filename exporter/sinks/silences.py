"""Silences in Alertmanager, over its API v2."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from detectors.types import Key
from exporter import exposition
from exporter.config.sections.train import Endpoint
from exporter.source.endpoint import session_to
from exporter.source.errors import SourceError

_OWN: Final = frozenset({"query", "detector"})
"""Labels of our series that a label of the source makes way for."""
_OVER: Final = ("404", "already expired", "not found")
"""How Alertmanager says that a silence cannot be ended any more."""


class NotSilenced(Exception):
    """Alertmanager did not take a silence. The message says why and what to do."""


class _Made(msgspec.Struct, rename={"id": "silenceID"}):
    id: str


def matchers(job: str, key: Key) -> dict[str, str]:
    """Return the labels by which alerts of a series are known in Alertmanager, all of them compared as a whole."""
    present = {name: value for name, value in key if value}
    names = exposition.published_names(tuple(present), _OWN)
    return {"query": job, **dict(zip(names, present.values(), strict=True))}


def silence(endpoint: Endpoint, job: str, key: Key, start: float, end: float, who: str, why: str) -> str:
    """Silence the alerts of a series from `start` to `end` (Unix seconds); return its id. Raises NotSilenced."""
    content = {
        "matchers": [
            {"name": name, "value": value, "isRegex": False, "isEqual": True}
            for name, value in matchers(job, key).items()
        ],
        "startsAt": _time(start),
        "endsAt": _time(end),
        "createdBy": who,
        "comment": why,
    }
    body = _ask(endpoint, "POST", "silences", json=content)
    try:
        return msgspec.json.decode(body, type=_Made).id
    except msgspec.DecodeError:
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

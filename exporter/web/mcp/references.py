"""How an incident is named in the tools: short, and the same until its series and incident are forgotten."""

import re
from datetime import datetime
from typing import Any, Final

_REFERENCE: Final = re.compile(r"([^/@]{1,100})/([0-9a-f]{16})(?:@([0-9]{1,10}(?:\.[0-9]{1,3})?))?")
HOW: Final = "name it as whats_wrong and past_incidents do, such as api/0123456789abcdef@1767607560"


class BadReference(ValueError):
    """A text that names no incident. The message says what does."""


def reference(incident: dict[str, Any]) -> str:
    """Return how an incident of the API is named.

    >>> reference({"job": "api", "id": "0123456789abcdef", "since": "2026-01-05T10:06:00.000Z"})
    'api/0123456789abcdef@1767607560'
    """
    since = incident.get("since")
    if since is None:
        return f"{incident['job']}/{incident['id']}"
    began = f"{datetime.fromisoformat(since).timestamp():.3f}".rstrip("0").rstrip(".")
    return f"{incident['job']}/{incident['id']}@{began}"


def parameters_of(text: str) -> dict[str, str]:
    """Return the parameters of the API for what a reference names. Raises BadReference.

    >>> parameters_of("api/0123456789abcdef@1767607560")
    {'job': 'api', 'id': '0123456789abcdef', 'since': '1767607560'}
    """
    match = _REFERENCE.fullmatch(text.strip())
    if match is None:
        raise BadReference(f"This names no incident: {HOW}.")
    job, series, since = match.groups()
    return {"job": job, "id": series} | ({"since": since} if since else {})

"""The requests of `anomaly-exporter feedback` to a running exporter."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from exporter.cli.accept_client import NotAccepted, login, own_url, pool_to
from exporter.config.sections.service import WebConfig
from exporter.json_values import from_json
from exporter.web.api import BadParameter, selection

_LARGEST = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Exporter:
    """A running exporter.

    Parameters
    ----------
    web : WebConfig
        Its own: address, users and certificate.
    url, user : str or None
        Its address, by default that of `web`, and the user, by default the only one.
    certificate, key : Path or None
        Client certificate, if it asks for one.
    """

    web: WebConfig
    url: str | None = None
    user: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        asked: Mapping[str, str | None] | None = None,
    ) -> bytes:
        """Return the answer to a request. Raises NotAccepted, with what the exporter says where it refuses."""
        address, headers = self.url or own_url(self.web), login(self.web, self.url, self.user)
        query = urlencode({name: value for name, value in (asked or {}).items() if value})
        content = None if body is None else json.dumps(body).encode()
        headers |= {} if content is None else {"Content-Type": "application/json"}
        with pool_to(self.web if self.url is None else None, self.certificate, self.key) as pool:
            try:
                answer = pool.request(
                    method, f"{address.rstrip('/')}/{path}{'?' * bool(query)}{query}", body=content, headers=headers,
                    preload_content=False,
                )  # fmt: skip
                text: bytes = answer.read(_LARGEST)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                hint = "does the exporter run there? --url names another address"
                raise NotAccepted(f"{address} cannot be reached: {error}; {hint}") from None
        if answer.status in {200, 201, 300}:
            return text
        if answer.status == 401:
            raise NotAccepted(f"{address} does not take this user and password")
        raise NotAccepted(
            _refusal(text) or f"{address} is no anomaly-exporter with /{path}: it answers {answer.status}"
        )


def labels_of(text: str) -> dict[str, str]:
    """Return the labels of a series as they are written on the command line. Raises NotAccepted."""
    try:
        found = selection([("match", text)]).labels if text.strip() else ()
    except BadParameter as error:
        raise NotAccepted(f"--entity {text}: {error}") from None
    if any(not each.equal for each in found):
        raise NotAccepted(f"--entity {text}: name one series, by all of its labels")
    return {each.label: each.value for each in found}


def _refusal(text: bytes) -> str:
    try:
        return str(from_json(text)["error"])
    except (ValueError, KeyError, TypeError):
        return ""

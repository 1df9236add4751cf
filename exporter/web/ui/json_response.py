"""How the JSON API answers: text that any program reads, or a refusal in a sentence."""

import json
from typing import Any

import msgspec
from starlette.responses import Response

from exporter.web.ui.answers import Refusal
from exporter.web.ui.endpoints import Endpoints, Refused, retry


def as_json(content: Any, status: int = 200) -> Response:
    """Answer with JSON."""
    # Not msgspec's encoder: a label may hold half of a surrogate pair, which plain JSON can escape.
    text = json.dumps(msgspec.to_builtins(content), allow_nan=False)
    return Response(text, status, retry(status), "application/json")


class JsonEndpoints(Endpoints):
    """Endpoints that answer with JSON."""

    def _refuse(self, refused: Refused) -> Response:
        return as_json(Refusal(refused.text), refused.status)

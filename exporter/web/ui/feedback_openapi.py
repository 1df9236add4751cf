"""The part of the OpenAPI document on answers to incidents."""

from typing import Any, Final

from exporter.sinks.feedback import KINDS
from exporter.web.ui.answers import Refusal
from exporter.web.ui.feedback_answers import Answers, Given, NewAnswer

TYPES: Final = (Answers, Given, NewAnswer)
_LISTED: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("job", "name of a job", {"type": "string"}),
    ("kind", "only answers of this kind; empty: all", {"type": "string", "enum": ["", *KINDS]}),
    ("standing", "only those that stand, or only the others", {"type": "boolean"}),
    ("limit", "answers in one page", {"type": "integer", "minimum": 1, "maximum": 200, "default": 200}),
    ("offset", "answers skipped before them", {"type": "integer", "minimum": 0, "maximum": 10**9, "default": 0}),
)
_REFUSED: Final = {
    "400": "the answer cannot be understood, or lacks something",
    "403": "nobody may answer here, or the request does not come from a page of ours",
    "404": "there is no such job, incident or answer",
    "409": "it has no effect: the incident is over, or somebody has answered it already",
    "413": "the request is too large",
    "415": "not application/json",
    "502": "Alertmanager did not take the silence",
    "503": "the answer could not be kept, or too many requests wait",
}


def paths(names: dict[type, dict[str, Any]]) -> dict[str, Any]:
    """Return the paths; `names` has a reference for each type."""
    refused = {code: _response(text, names[Refusal]) for code, text in _REFUSED.items()}
    body = {"required": True, "content": {"application/json": {"schema": names[NewAnswer]}}}
    which = {"name": "answer", "in": "path", "required": True, "description": "id of the answer",
             "schema": {"type": "string", "pattern": "^[0-9a-f]{12}$"}}  # fmt: skip
    return {
        "/api/v1/answers": {
            "get": {
                "operationId": "answers",
                "summary": "What people answered to incidents",
                "parameters": [
                    {"name": name, "in": "query", "description": text, "schema": schema}
                    for name, text, schema in _LISTED
                ],
                "responses": {"200": _response(Answers.__doc__, names[Answers])}
                | {code: refused[code] for code in ("400", "503")},
            },
            "post": {
                "operationId": "answer",
                "summary": "Answer an incident",
                "requestBody": body,
                "responses": {"201": _response(Given.__doc__, names[Given])} | refused,
            },
        },
        "/api/v1/answers/{answer}": {
            "delete": {
                "operationId": "take_back",
                "summary": "Take an answer back: what follows is as if it had never been given",
                "parameters": [which],
                "responses": {"200": _response(Given.__doc__, names[Given])}
                | {code: refused[code] for code in ("403", "404", "409", "502", "503")},
            }
        },
    }


def _response(text: str | None, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text or "", "content": {"application/json": {"schema": schema}}}

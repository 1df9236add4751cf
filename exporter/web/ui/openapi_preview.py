"""What the OpenAPI document says of the workbench."""

from collections.abc import Mapping
from typing import Any, Final

from exporter.web.ui.answers import Refusal
from exporter.web.ui.preview_answers import MetricNames, Preview, PreviewStarted

TYPES: Final = (MetricNames, Preview, PreviewStarted)
_CHOICE: Final[dict[str, Any]] = {
    "direction": {"type": "string", "enum": ["above", "below", "both"]},
    "least_deviation": {"type": "number", "minimum": 0, "maximum": 1e300},
    "budget": {"type": "number", "minimum": 0.001, "maximum": 1e300},
}
_DURATION: Final = {"type": "string", "description": "such as 1m or 14d"}
_QUESTION: Final = {
    "type": "object",
    "anyOf": [{"required": ["expr"]}, {"required": ["channels"]}],
    "additionalProperties": False,
    "properties": {
        "expr": {"type": "string", "minLength": 1, "maxLength": 4000, "description": "PromQL"},
        "channels": {
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 4000},
            "description": "PromQL by channel, in place of expr",
        },
        "job": {"type": "string", "description": "job of the configuration whose other settings are taken over"},
        "name": {"type": "string", "maxLength": 100, "description": "of the job"},
        "step": _DURATION,
        "range": _DURATION,
        **_CHOICE,
    },
}
_PAST: Final = {
    "type": "object",
    "required": ["jobs"],
    "additionalProperties": False,
    "properties": {
        "jobs": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1000},
        "range": _DURATION,
    },
}


def _query(name: str, schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, **more}


_ID: Final = _query("id", {"type": "string"}, required=True)


def paths(schemas: Mapping[type, Any]) -> dict[str, Any]:
    """Return the paths of the workbench; `schemas` are those of the types of answers."""

    def answers(kinds: Mapping[str, type | None]) -> dict[str, Any]:
        refused = dict.fromkeys(("400", "403", "503"), Refusal)
        return {
            code: {
                "description": (kind.__doc__ or "").strip() if kind else "Done",
                **({"content": {"application/json": {"schema": schemas[kind]}}} if kind else {}),
            }
            for code, kind in {**kinds, **refused}.items()
        }

    def begun(operation: str, summary: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "operationId": operation,
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": answers({"202": PreviewStarted, "409": Refusal, "413": Refusal, "415": Refusal}),
        }

    choice = [_query(name, schema) for name, schema in _CHOICE.items()]
    row = _query("row", {"type": "string", "pattern": "^([0-9]{1,5}(,[0-9]{1,5}){0,5})?$"})
    return {
        "/api/v1/preview": {
            "post": begun("startPreview", "Replay a job that is tried", _QUESTION),
            "get": {
                "operationId": "preview",
                "summary": "How a replay stands, and what was found by some settings; nobody asking for 20 s ends it",
                "parameters": [_ID, *choice, row],
                "responses": answers({"200": Preview, "404": Refusal}),
            },
            "delete": {
                "operationId": "endPreview",
                "summary": "End a replay",
                "parameters": [_ID],
                "responses": answers({"204": None}),
            },
        },
        "/api/v1/preview/past": {
            "post": begun("startPast", "Look back what jobs of the configuration would have found", _PAST)
        },
        "/api/v1/preview/metrics": {
            "get": {
                "operationId": "previewMetrics",
                "summary": "Metrics of the source whose names hold a text",
                "parameters": [_query("part", {"type": "string", "maxLength": 200})],
                "responses": answers({"200": MetricNames, "502": Refusal}),
            }
        },
    }

"""The OpenAPI document, made of the types of the answers."""

import functools
from typing import Any, Final

import msgspec

from exporter import __version__
from exporter.sinks.feedback import KINDS
from exporter.web.ui import feedback_openapi, openapi_preview
from exporter.web.ui.answers import Now, PastIncidents, Refusal
from exporter.web.ui.answers_machines import Anomalies, Configuration
from exporter.web.ui.job_answers import JobPage
from exporter.web.ui.parameters import COMPARED
from exporter.web.ui.past import UNANSWERED
from exporter.web.ui.related_answers import Related
from exporter.web.ui.series_answers import Ambiguous, Series
from exporter.web.ui.status_answers import Jobs, Status

_REF: Final = "#/components/schemas/{name}"
_TIME: Final = {"type": "number", "minimum": 0, "maximum": 9_999_999_999}
_MOMENT: Final = {
    "type": "string",
    "pattern": (
        r"^(|[0-9]{1,9}(\.[0-9]{1,3})?"
        r"|2[01][0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9])$"
    ),
}
_NAME: Final = {"type": "string", "minLength": 1}
_LABEL: Final = r'[A-Za-z_][A-Za-z0-9_.]{0,60}!?="[^"\\]{0,60}"'


def _parameter(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


_MATCH: Final = _parameter(
    "match", 'labels of the series, name="value" or name!="value" separated by commas',
    {"type": "string", "pattern": f"^(|{_LABEL}(,{_LABEL}){{0,9}})$"},
    example='instance="a:9100"',
)  # fmt: skip
_SERIES: Final = [
    _parameter("job", "name of a job", _NAME, required=True),
    _MATCH,
    _parameter("id", "digest of the series; match is ignored then", {"type": "string", "pattern": "^[0-9a-f]{16}$"}),
    _parameter("since", "when the incident began that is meant, Unix seconds", _TIME),
    _parameter("range", "seconds of the range; default: an hour, or the incident and what lay around it",
               {"type": "number", "minimum": 60, "maximum": 1_209_600}),
    _parameter("end", "end of the range, Unix seconds; default: the newest sample, or soon after the incident", _TIME),
    _parameter("compare", "add the values of a day or a week earlier", {"type": "string", "enum": list(COMPARED)}),
    _parameter("told", "add every sample in a sentence", {"type": "boolean"}),
]  # fmt: skip
_PAST: Final = [
    _parameter("job", "name of a job", {"type": "string"}),
    _MATCH,
    _parameter("start", "not over before this time: Unix seconds, or ISO 8601 in UTC", _MOMENT),
    _parameter("end", "begun before this time: Unix seconds, or ISO 8601 in UTC", _MOMENT),
    _parameter("alerted", "only those that were alerts, or only the others", {"type": "boolean"}),
    _parameter(
        "answered",
        "only those that people answered so, or that nobody answered",
        {"type": "string", "enum": [*KINDS, UNANSWERED]},
    ),
    _parameter("limit", "incidents in one answer", {"type": "integer", "minimum": 1, "maximum": 200, "default": 200}),
    _parameter(
        "offset", "incidents skipped before them", {"type": "integer", "minimum": 0, "maximum": 10**9, "default": 0}
    ),
]
_SWITCH: Final = {"type": "boolean"}
_ANOMALIES: Final = [
    _parameter("job", "names of jobs; default: all", {"type": "array", "items": _NAME}),
    _parameter("match", _MATCH["description"], {"type": "array", "items": _MATCH["schema"] | {"minLength": 1}}),
    _parameter("flag", "only open incidents, or only others", _SWITCH),
    _parameter("alert", "only alerts, or only others", _SWITCH),
    _parameter("limit", "series in one answer", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
    _parameter("offset", "series skipped before them", {"type": "integer", "minimum": 0, "maximum": 10**9}),
]
_PATHS: Final[tuple[tuple[str, str, list[dict[str, Any]], type, dict[str, type]], ...]] = (
    ("now", "What is wrong now, what cannot be seen, what is watched", [], Now, {}),
    ("jobs", "How every job stands", [], Jobs, {}),
    (
        "job",
        "One job: its series with incidents over time, its models, quality and cost",
        [
            _parameter("job", "name of a job", _NAME, required=True),
            _parameter("range", "how far back", {"type": "string", "enum": ["6h", "1d", "7d", "14d"]}),
        ],
        JobPage,
        {"404": Refusal},
    ),
    (
        "series",
        "One series over a range of time: value, band, score, incidents",
        _SERIES,
        Series,
        {"300": Ambiguous, "404": Refusal},
    ),
    (
        "related",
        "What else moved around the beginning of an incident, the most unusual first",
        [
            *_SERIES[:4],
            _parameter("expr", "PromQL whose series are compared, instead of those of all jobs", {"type": "string"}),
        ],
        Related,
        {"300": Ambiguous, "403": Refusal, "404": Refusal},
    ),
    ("incidents", "Incidents that are over", _PAST, PastIncidents, {}),
    ("anomalies", "The newest verdicts, the worst first", _ANOMALIES, Anomalies, {"304": type(None)}),
    ("config", "Digests of the configuration in force, for check-config --against", [], Configuration, {}),
    ("status", "The exporter itself: versions, cycles, configuration in force without secrets", [], Status, {}),
)


@functools.cache
def document() -> dict[str, Any]:
    """Return the document, OpenAPI 3.1."""
    found = {kind for _, _, _, answer, others in _PATHS for kind in (answer, *others.values(), Refusal)}
    found |= {*feedback_openapi.TYPES, *openapi_preview.TYPES}
    types = sorted(found - {type(None)}, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    names = dict(zip(types, schemas, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "anomaly-exporter",
            "version": __version__,
            "description": "What the pages of the exporter show. null means not known, never healthy.",
        },
        "servers": [{"url": "../.."}],
        "paths": {
            f"/api/v1/{name}": {
                "get": {
                    "operationId": name,
                    "summary": summary,
                    "parameters": parameters,
                    "responses": {
                        code: _response(names.get(kind), kind)
                        for code, kind in {"200": answer, "400": Refusal, "503": Refusal, **others}.items()
                    },
                }
            }
            for name, summary, parameters, answer, others in _PATHS
        }
        | feedback_openapi.paths(names)
        | openapi_preview.paths(names),
        "components": {"schemas": components},
    }


def _response(schema: dict[str, Any] | None, kind: type) -> dict[str, Any]:
    if schema is None:
        return {"description": "Nothing has changed since the answer of that ETag."}
    return {"description": (kind.__doc__ or "").strip(), "content": {"application/json": {"schema": schema}}}

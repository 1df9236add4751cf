"""The tools: what they take, what of the JSON API they ask for, and the official SDK's server of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcp import types
from mcp.server import Server, ServerRequestContext

from exporter import __version__
from exporter.config.values import moment
from exporter.web.mcp import texts
from exporter.web.mcp.references import HOW, BadReference, parameters_of

Ask = Callable[[Any, str, str, Mapping[str, str], Mapping[str, Any] | None], Awaitable[tuple[int, dict[str, Any]]]]
"""Asks the JSON API: context of the call, method, path below /api/v1/, parameters, body. Returns status, answer."""
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_INCIDENT: Final[dict[str, Any]] = {"type": "string", "description": f"the incident or series: {HOW}"}
_CHOICE: Final = ("direction", "least_deviation", "budget")
_PAUSE: Final = 1.0
_LOOKS: Final = 50
"""How often, and every how many seconds a replay is looked at until it has come to its end."""
_INSTRUCTIONS: Final = (
    "What an anomaly exporter for Prometheus knows: open incidents, what explains them, what else moved. Begin with "
    "whats_wrong. All times are UTC; scores above 1 are anomalous. What is not seen is not known to be healthy."
)


class _Refused(Exception):
    """The API refused. The message is its sentence."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a tool."""

    ask: Ask
    context: Any
    given: Mapping[str, Any]

    async def get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return an answer of the API. Raises _Refused."""
        return await self.change("GET", path, None, parameters)

    async def change(
        self, method: str, path: str, body: Mapping[str, Any] | None, parameters: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the answer to any request. Raises _Refused."""
        status, answer = await self.ask(self.context, method, path, parameters or {}, body)
        if status not in {200, 201, 202}:
            raise _Refused(str(answer.get("error") or f"The exporter answers {status}."))
        return answer

    @property
    def incident(self) -> dict[str, str]:
        """The parameters of the series or incident that is meant. Raises BadReference."""
        return parameters_of(str(self.given["incident"]))


async def _whats_wrong(call: _Call) -> str:
    return texts.now(await call.get("now", {}))


async def _explain(call: _Call) -> str:
    asked = call.incident
    shown = await call.get("series", asked)
    answers = (await call.get("answers", {"job": asked["job"]}))["answers"]
    since = (shown["incident"] or shown["past"] or {}).get("since")
    about = [
        each for each in answers if each["labels"] == shown["labels"] and (each["stands"] or each["since"] == since)
    ]
    return texts.explained(shown, about)


async def _moved(call: _Call) -> str:
    asked = call.incident
    if "since" not in asked:
        shown = await call.get("series", asked)
        if shown["incident"] is None or shown["incident"]["since"] is None:
            raise _Refused(f"No incident of this series is open: say which one, {HOW}.")
        asked["since"] = str(moment(shown["incident"]["since"]))
    shown = await call.get("series", asked)
    named = {"job": shown["job"], "id": shown["id"], "since": asked["since"]}
    expr = {"expr": str(call.given["expr"])} if call.given.get("expr") else {}
    return texts.moved(shown, await call.get("related", named | expr))


async def _series(call: _Call) -> str:
    asked = call.incident
    minutes = min(max(float(call.given.get("minutes", 60)), 1), 20_160)
    if "at" in call.given:
        try:
            at = moment(str(call.given["at"]))
        except ValueError:
            raise _Refused("at must be a time such as 2026-01-05T10:06 (UTC), or Unix seconds.") from None
        asked["end"] = f"{at + 30 * minutes:.3f}"
    return texts.samples(await call.get("series", asked | {"range": f"{60 * minutes:.3f}"}))


async def _past(call: _Call) -> str:
    given = {name: str(value) for name, value in call.given.items() if name in {"job", "match", "start", "end"}}
    return texts.past(await call.get("incidents", given | {"limit": "30"}))


async def _answer(call: _Call) -> str:
    asked = call.incident
    body = {name: value for name, value in call.given.items() if name != "incident"} | {
        "job": asked["job"], "id": asked["id"],
    }  # fmt: skip
    if "since" in asked:
        body["since"] = float(asked["since"])
    return texts.given(await call.change("POST", "answers", body))


async def _take_back(call: _Call) -> str:
    answer = str(call.given["answer"])
    if not answer.isalnum():
        raise _Refused("An answer has an id of 12 letters and digits; explain_incident shows it.")
    return texts.given(await call.change("DELETE", f"answers/{answer}", None))


async def _preview(call: _Call) -> str:
    """Begin a replay unless one is named, wait for its end for a while, and decide by the settings that are given."""
    asked = {name: value for name, value in call.given.items() if name not in {"preview", "jobs"}}
    if (name := str(call.given.get("preview", ""))) == "":
        if "jobs" in call.given:
            past = {"jobs": [each.strip() for each in str(call.given["jobs"]).split(",")]}
            begun = await call.change("POST", "preview/past", past | {n: v for n, v in asked.items() if n == "range"})
        elif "expr" in call.given:
            begun = await call.change("POST", "preview", asked)
        else:
            raise _Refused(
                "Give expr (a job to try), jobs (names of the configuration), or preview (one begun before)."
            )
        name = begun["id"]
    for _ in range(_LOOKS):
        found = await call.get("preview", {"id": name})
        if found["state"] in {"exact", "failed"}:
            break
        await asyncio.sleep(_PAUSE)
    if (decided := found["decided"]) is not None and (moved := asked.keys() & _CHOICE):
        choice = {each: str(asked[each] if each in moved else decided[each]) for each in _CHOICE}
        found = await call.get("preview", {"id": name} | choice)
    return texts.preview(found)


def _tool(name: str, text: str, properties: dict[str, Any], required: list[str], writes: bool = False) -> types.Tool:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    hints = types.ToolAnnotations(read_only_hint=not writes, destructive_hint=writes, open_world_hint=False)
    return types.Tool(name=name, description=text, input_schema=schema, annotations=hints)


_WHEN = {"type": "string", "enum": ["once", "weekly", "daily", "always"], "description": "only for expected"}
_TOOLS: Final[dict[str, tuple[types.Tool, Callable[[_Call], Awaitable[str]]]]] = {
    tool.name: (tool, call)
    for tool, call in (
        (_tool("whats_wrong", "What is wrong now: open incidents, the worst first, and what cannot be seen.", {}, []),
         _whats_wrong),
        (_tool("explain_incident", "Why it is one: observed against expected and normal, shares, answers of people.",
               {"incident": _INCIDENT}, ["incident"]), _explain),
        (_tool("what_else_moved",
               "Which incidents are one with it and which series moved first; which other series of all jobs changed "
               "then more than they usually do, and how often that comes by chance.",
               {"incident": _INCIDENT,
                "expr": _TEXT | {"description": "PromQL whose series are compared instead of those of all jobs"}},
               ["incident"]), _moved),
        (_tool("series_around", "Values, normal range and score of a series around a time.",
               {"incident": _INCIDENT, "at": _TEXT | {"description": "ISO 8601 (UTC) or Unix seconds; default: now"},
                "minutes": {"type": "number", "minimum": 1, "maximum": 20_160, "description": "default: 60"}},
               ["incident"]), _series),
        (_tool("past_incidents", "Incidents that are over, the newest first.",
               {"job": _TEXT, "match": _TEXT | {"description": 'labels such as instance="a"'}, "start": _TEXT,
                "end": _TEXT}, []), _past),
        (_tool("answer_incident",
               "Say what an incident was: expected (taken from view), normal (its level is learnt, for good), silence "
               "(no message from Alertmanager), incident (a label). Ask the person you work for first.",
               {"incident": _INCIDENT, "kind": _TEXT | {"enum": ["expected", "normal", "silence", "incident"]},
                "why": _TEXT, "when": _WHEN, "margin": {"type": "number", "description": "percent larger, default 20"},
                "until": _TEXT | {"description": "30d, or ISO 8601 (UTC)"}, "who": _TEXT}, ["incident", "kind", "why"],
               writes=True), _answer),
        (_tool("preview_job",
               "What a job would have found in the past: give expr to try one, or jobs (names, with commas) of the "
               "configuration. It takes up to a minute. To move direction, least_deviation or budget "
               "without another replay, give preview, as the answer names it. Nothing of it changes what runs.",
               {"expr": _TEXT | {"description": "PromQL"}, "name": _TEXT,
                "step": _TEXT | {"description": "default: 1m"},
                "range": _TEXT | {"description": "such as 3d; 14d at most"}, "jobs": _TEXT,
                "direction": {"type": "string", "enum": ["above", "below", "both"]},
                "least_deviation": {"type": "number", "minimum": 0},
                "budget": {"type": "number", "description": "alerts a week, default 1"}, "preview": _TEXT}, []),
         _preview),
        (_tool("take_back_answer", "Take an answer back.", {"answer": _TEXT}, ["answer"], writes=True), _take_back),
    )
}  # fmt: skip


def server(ask: Ask) -> Server[Any]:
    """Return a server of the tools that asks the API by `ask`."""

    async def list_tools(_context: ServerRequestContext[Any], _page: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool for tool, _ in _TOOLS.values()])

    async def call_tool(context: ServerRequestContext[Any], asked: types.CallToolRequestParams) -> types.CallToolResult:
        wrong, text = False, ""
        try:
            text = await _called(ask, context, asked.name, asked.arguments or {})
        except (_Refused, BadReference) as error:
            wrong, text = True, texts.clipped(str(error), texts.MOST)
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=wrong)

    return Server(
        "anomaly-exporter", version=__version__, instructions=_INSTRUCTIONS, on_list_tools=list_tools,
        on_call_tool=call_tool,
    )  # fmt: skip


async def _called(ask: Ask, context: Any, name: str, given: Mapping[str, Any]) -> str:
    """Return the text of a tool. Raises _Refused, BadReference."""
    if name not in _TOOLS:
        raise _Refused(f"There is no such tool; there are {', '.join(_TOOLS)}.")
    tool, call = _TOOLS[name]
    schema = tool.input_schema
    if missing := [each for each in schema["required"] if given.get(each) in {None, ""}]:
        raise _Refused(f"{' and '.join(missing)} must be given.")
    if not given.keys() <= schema["properties"].keys():
        raise _Refused(f"There is an unknown argument; known are {', '.join(schema['properties']) or 'none'}.")
    for key, value in given.items():
        number = schema["properties"][key].get("type") == "number"
        if not isinstance(value, int | float if number else str) or isinstance(value, bool):
            raise _Refused(f"{key} must be a {'number' if number else 'text'}.")
    return await call(_Call(ask, context, given))

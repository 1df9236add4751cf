"""The answers to incidents on pages: a form without scripts, the list, and files of it."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from exporter.config.values import duration
from exporter.sinks.feedback import KINDS, Feedback, Saved
from exporter.web.api import BadParameter
from exporter.web.same_origin import login_of, token_of
from exporter.web.ui import export, pages
from exporter.web.ui.answering import give, take_back
from exporter.web.ui.facts import Running
from exporter.web.ui.feedback_answers import Given, NewAnswer
from exporter.web.ui.feedback_api import chosen, listed
from exporter.web.ui.feedback_wording import answer_of
from exporter.web.ui.not_answered import NotAnswered
from exporter.web.ui.page_response import PageEndpoints, neighbours
from exporter.web.ui.parameters import once_each
from exporter.web.ui.rights import TOKEN, fields_of
from exporter.web.ui.turns import Busy

_FIELDS: Final = (TOKEN, "job", "id", "since", "kind", "when", "margin", "longest", "until", "why", "who")
_FILES: Final = {"answers.csv": "text/csv", "answers.json": "application/json", "answers.yml": "application/yaml"}


class FeedbackPages(PageEndpoints):
    """The endpoints."""

    def routes(self) -> list[Route]:
        """Return all of them."""
        return [
            Route("/answers", self.list, methods=["GET"]),
            Route("/answers", self.give, methods=["POST"]),
            Route("/answers/undo", self.take_back, methods=["POST"]),
            *(Route(f"/{name}", self.file, methods=["GET"]) for name in _FILES),
        ]

    async def list(self, request: Request) -> Response:
        """List the answers."""
        parameters, token = request.query_params.multi_items(), token_of(request)

        def page() -> str:
            answer = listed(self._running, self._rights, parameters, time.time())
            asked = {name: value for name, value in parameters if value and name not in {"offset", "limit"}}
            links = neighbours(asked, answer.offset, len(answer.answers), answer.next)
            return pages.answers_page(answer, asked, list(self._running.facts().jobs), token, links)

        return await self._page(page)

    async def give(self, request: Request) -> Response:
        """Take an answer from a form."""

        def call(fields: Mapping[str, str]) -> Given:
            return give(self._running, _new(fields), login_of(request), time.time())

        return await self._changed(request, call)

    async def take_back(self, request: Request) -> Response:
        """Take an answer back."""

        def call(fields: Mapping[str, str]) -> Given:
            return take_back(self._running, fields.get("answer", ""), login_of(request), time.time())

        return await self._changed(request, call)

    async def _changed(self, request: Request, call: Callable[[Mapping[str, str]], Given]) -> Response:
        try:
            fields = await fields_of(request)
            self._rights.check(request, fields.get(TOKEN, ""))
            given = await self._quick.run(lambda: call(fields))
        except (NotAnswered, Busy) as error:
            return self._refused(error)
        up = "../" if request.url.path.endswith("/undo") else ""
        return RedirectResponse(f"{up}{given.answer.link}#answers", 303)

    async def file(self, request: Request) -> Response:
        """Hand out the answers as a file."""
        name = request.url.path.rpartition("/")[2]
        parameters = request.query_params.multi_items()

        def text() -> str:
            return _written(name, self._running, once_each(parameters, ("job", "kind", "standing")), time.time())

        return await self._file(name, _FILES[name], text)


def _written(name: str, running: Running, asked: dict[str, str], now: float) -> str:
    if asked.get("kind", "expected") not in KINDS:
        raise BadParameter(f"kind must be {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    found, facts = chosen(running.feedback.every(), asked, now), running.facts()
    if name == "answers.json":
        return json.dumps(msgspec.to_builtins(Saved(found[::-1])), indent=1)
    if name == "answers.csv":
        return export.answers_as_csv([answer_of(each, facts, now) for each in found])
    return export.labels_file(found, {each.id: _end(running, each, now) for each in found})


def _end(running: Running, feedback: Feedback, now: float) -> float:
    """Return when an incident ended (Unix seconds), as far as that is known: now where it is still open."""
    if feedback.over is not None:
        return feedback.over
    logged = running.incidents.find(feedback.job, feedback.key, feedback.since)
    return feedback.at if logged is None else logged.incident.over or now


def _new(fields: Mapping[str, str]) -> NewAnswer:
    """Return what a form asks for. Raises NotAnswered."""
    given = {name: fields[name] for name in ("job", "id", "kind", "when", "until", "why", "who") if name in fields}
    if "kind" not in given:
        raise NotAnswered(400, "Choose what it was: expected, the new normal, a real incident, or silence it.")
    try:
        numbers = {name: float(fields[name]) for name in ("since", "margin") if name in fields}
        if "longest" in fields:
            numbers["longest"] = duration(fields["longest"])
        return msgspec.convert({"why": ""} | given | numbers, NewAnswer)
    except ValueError as error:
        told = str(error) if "duration" in str(error) else "a field holds something else than it should"
        raise NotAnswered(400, f"The answer cannot be understood: {told}. Go back and change it.") from None

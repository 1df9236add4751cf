"""The JSON API of the answers to incidents: give one, list them, take one back."""

import json
import time
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.json_values import utc
from exporter.sinks.feedback import KINDS, Feedback
from exporter.web.api import BadParameter
from exporter.web.same_origin import login_of, media_type
from exporter.web.ui.answering import give, take_back
from exporter.web.ui.facts import Running
from exporter.web.ui.feedback_answers import Answers, NewAnswer
from exporter.web.ui.feedback_wording import answer_of
from exporter.web.ui.json_response import JsonEndpoints, as_json
from exporter.web.ui.not_answered import NotAnswered
from exporter.web.ui.parameters import Parameters, once_each, whole
from exporter.web.ui.rights import HEADER, Rights, body_of

MOST_OF_A_PAGE = 200
_KNOWN = ("job", "kind", "standing", "limit", "offset")


class FeedbackApi(JsonEndpoints):
    """The endpoints."""

    def routes(self) -> list[Route]:
        """Return all of them."""
        return [
            Route("/api/v1/answers", self.list, methods=["GET"]),
            Route("/api/v1/answers", self.give, methods=["POST"]),
            Route("/api/v1/answers/{answer}", self.take_back, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """Answer which answers there are."""
        parameters = request.query_params.multi_items()
        return await self._answer(lambda: listed(self._running, self._rights, parameters, time.time()))

    async def give(self, request: Request) -> Response:
        """Give an answer."""
        try:
            self._rights.check(request, request.headers.get(HEADER))
            if media_type(request) != "application/json":
                raise NotAnswered(415, "Send the answer as application/json.")
            new = _decoded(await body_of(request))
        except NotAnswered as error:
            return self._refused(error)
        login = login_of(request)
        return await self._answer(lambda: give(self._running, new, login, time.time()), 201)

    async def take_back(self, request: Request) -> Response:
        """Take an answer back."""
        try:
            self._rights.check(request, request.headers.get(HEADER))
        except NotAnswered as error:
            return self._refused(error)
        answer, login = request.path_params["answer"], login_of(request)
        return await self._answer(lambda: take_back(self._running, answer, login, time.time()))

    async def _answer(self, call: Callable[[], msgspec.Struct], status: int = 200) -> Response:
        return await self._run(lambda: as_json(call(), status), self._quick)


def listed(running: Running, rights: Rights, parameters: Parameters, now: float) -> Answers:
    """Return the answers that are asked for, the newest first. Raises BadParameter."""
    asked = once_each(parameters, _KNOWN)
    if asked.get("kind", "expected") not in KINDS:
        raise BadParameter(f"kind must be {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if asked.get("standing", "true") not in {"true", "false"}:
        raise BadParameter("standing must be true or false")
    limit, offset = whole("limit", asked, 1, MOST_OF_A_PAGE, MOST_OF_A_PAGE), whole("offset", asked, 0, 10**9, 0)
    found = chosen(running.feedback.every(), asked, now)
    facts, end = running.facts(), offset + limit
    return Answers(
        utc(now), len(found), offset, end if end < len(found) else None, rights.refusal,
        [answer_of(each, facts, now) for each in found[offset:end]],
    )  # fmt: skip


def chosen(every: tuple[Feedback, ...], asked: dict[str, str], now: float) -> list[Feedback]:
    """Return the answers that are asked for, the newest first."""
    return [
        each
        for each in reversed(every)
        if asked.get("job", each.job) == each.job
        and asked.get("kind", each.kind) == each.kind
        and ("standing" not in asked or each.stands(now) is (asked["standing"] == "true"))
    ]


def _decoded(body: bytes) -> NewAnswer:
    try:
        return msgspec.convert(json.loads(body), NewAnswer)
    except (ValueError, RecursionError) as error:
        told = str(error) if isinstance(error, msgspec.ValidationError) else "it is not JSON"
        raise NotAnswered(400, f"The answer cannot be understood: {told}.") from None

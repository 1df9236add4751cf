"""Who may change something from a page: whoever is logged in, from a page of ours, and no other page in their name."""

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from exporter.web import same_origin
from exporter.web.same_origin import FORM, UNKNOWN_NAME, Foreign, TooLong, check_token, media_type
from exporter.web.ui.facts import Running
from exporter.web.ui.not_answered import NotAnswered

LARGEST: Final = 32 * 1024
"""Bytes of the body of a request."""
TOKEN: Final = "token"  # noqa: S105 - the name of a field
HEADER: Final = "x-anomaly-token"
_OFF: Final = (
    "Answers are off. They are on where people log in (web.users), or for everybody who reaches the port with "
    "web.actions: true."
)
_FOREIGN: Final = "Another page sent this. Answer on the exporter's own pages."
_STALE: Final = (
    "This page was made before the exporter was started again, or for somebody else: go back, load it again and "
    "answer again."
)


class Rights:
    """Decides on requests that change something.

    Parameters
    ----------
    running : Running
    may_act : bool
        Whether people may answer incidents at all.
    """

    def __init__(self, running: Running, may_act: bool) -> None:
        self._running, self._may_act = running, may_act

    @property
    def refusal(self) -> str:
        """Why nobody can answer now, "" where one can."""
        if not self._may_act:
            return _OFF
        trouble = self._running.feedback.trouble
        return f"No answer can be given: {trouble}." if trouble else ""

    def check(self, request: Request, token: str | None) -> None:
        """Refuse a request that may not change anything. Raises NotAnswered.

        A browser sends logins by itself, also with requests that another page makes it send. So what comes from a
        browser must come from a page of ours (`Sec-Fetch-Site`, `Origin`), and know the token that only those have.
        """
        if refusal := self.refusal:
            raise NotAnswered(403 if not self._may_act else 503, refusal)
        if token is None and not {"sec-fetch-site", "origin"} & set(request.headers):
            return  # no browser, and no form of one
        try:
            self.check_origin(request)
        except Foreign as error:
            told = UNKNOWN_NAME if str(error) == UNKNOWN_NAME else _FOREIGN
            raise NotAnswered(403, told) from error
        try:
            check_token(request, token or "")
        except Foreign as error:
            raise NotAnswered(403, _STALE) from error

    def check_origin(self, request: Request) -> None:
        """Raise Foreign where another site sent the request."""
        same_origin.check_origin(request, self._running.facts().config.web)


async def body_of(request: Request) -> bytes:
    """Return the body of a request. Raises NotAnswered where it is larger than any answer."""
    try:
        return await same_origin.body_of(request, LARGEST)
    except TooLong as error:
        told = f"The request has more than {LARGEST // 1024} KiB: shorten the reason."
        raise NotAnswered(413, told) from error


async def fields_of(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises NotAnswered."""
    if media_type(request) != FORM:
        raise NotAnswered(415, "This is not what the form of the page sends.")
    text = (await body_of(request)).decode("utf-8", "replace")
    return {name: value for name, value in parse_qsl(text, max_num_fields=50) if value}

"""How a page is answered: made in its turn, with the strictest headers, or a refusal in plain words."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from exporter.web.ui import pages
from exporter.web.ui.endpoints import Endpoints, Refused, retry
from exporter.web.ui.turns import Turn

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere and nothing inline: a label that got into the page as a script would not run."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # with none at all, a form would not say which page it comes from
    "X-Frame-Options": "DENY",
}


def as_page(
    text: str, headers: Mapping[str, str] | None = None, kind: str = "text/html", status: int = 200
) -> Response:
    """Answer with a page."""
    # Half of a surrogate pair cannot be UTF-8.
    return Response(text.encode("utf-8", "replace"), status, {**HEADERS, **(headers or {})}, kind)


def refusal(refused: Refused) -> Response:
    """Answer what happened and what to do."""
    return as_page(pages.refusal_page(refused.title, refused.text), retry(refused.status), status=refused.status)


class PageEndpoints(Endpoints):
    """Endpoints that answer with pages for people, and with files."""

    async def _page(
        self,
        page: Callable[[], str],
        turn: Turn | None = None,
        headers: Mapping[str, str] | None = None,
        kind: str = "text/html",
    ) -> Response:
        """Answer with a page that is made in its turn, or with why there is none."""
        return await self._run(lambda: as_page(page(), headers, kind), turn or self._quick)

    async def _file(self, name: str, kind: str, text: Callable[[], str]) -> Response:
        """Answer with a file to keep."""
        return await self._page(text, headers={"Content-Disposition": f"attachment; filename={name}"}, kind=kind)

    def _refuse(self, refused: Refused) -> Response:
        return refusal(refused)


def neighbours(asked: Mapping[str, str], offset: int, count: int, after: int | None) -> dict[str, str]:
    """Return links to the pages of a list before and after the one of `count` from `offset` on, and to all of it."""
    links = {"all": query(asked), "before": "", "after": ""}
    if after is not None:
        links["after"] = query(asked, offset=after)
    if offset:
        links["before"] = query(asked, offset=max(offset - max(count, 1), 0))
    return links


def query(asked: Mapping[str, str], **more: int) -> str:
    """Write parameters of an address; one of `more` goes before what was asked for."""
    every = {name: value for name, value in asked.items() if name not in {"offset", "limit"} | more.keys()}
    text = urlencode(every | {name: str(value) for name, value in more.items()}, errors="replace")
    return f"?{text}" if text else ""

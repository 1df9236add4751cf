"""How a page is answered: made in its turn, with the strictest headers, or a refusal in plain words."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, Response

from exporter.web.ui import pages
from exporter.web.ui.endpoints import Refused, refusal_of
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


def as_page(text: str, headers: Mapping[str, str] | None = None, kind: str = "text/html") -> Response:
    """Answer with a page."""
    # Half of a surrogate pair cannot be UTF-8.
    return Response(text.encode("utf-8", "replace"), 200, {**HEADERS, **(headers or {})}, kind)


def refusal(refused: Refused) -> Response:
    """Answer what happened and what to do."""
    return HTMLResponse(pages.refusal_page(refused.title, refused.text), refused.status, {**HEADERS, **refused.headers})


async def page_response(
    turn: Turn, page: Callable[[], str], headers: Mapping[str, str] | None = None, kind: str = "text/html"
) -> Response:
    """Answer with a page that is made in its turn, or with why there is none."""
    try:
        return as_page(await turn.run(page), headers, kind)
    except Exception as error:
        if (refused := refusal_of(error)) is None:
            raise
        return refusal(refused)


def query(asked: Mapping[str, str], **more: int) -> str:
    """Write parameters of an address; one of `more` goes before what was asked for."""
    every = {name: value for name, value in asked.items() if name not in {"offset", "limit"} | more.keys()}
    text = urlencode(every | {name: str(value) for name, value in more.items()}, errors="replace")
    return f"?{text}" if text else ""

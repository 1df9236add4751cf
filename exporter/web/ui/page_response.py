"""How a page is answered: made in its turn, with the strictest headers, or a refusal in plain words."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, Response

from exporter.sinks.latest import UnknownJob
from exporter.web.api import BadParameter
from exporter.web.ui import pages
from exporter.web.ui.series import NoSuchSeries
from exporter.web.ui.turns import MANY, Busy, Turn

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


async def page_response(
    turn: Turn, page: Callable[[], str], headers: Mapping[str, str] | None = None, kind: str = "text/html"
) -> Response:
    """Answer with a page, or with why there is none."""
    try:
        text = await turn.run(page)
    except Busy:
        return refusal("Busy", MANY, 503)
    except BadParameter as error:
        return refusal("This address cannot be understood", f"{error}.", 400)
    except UnknownJob:
        told = "There is no job of that name now; Status lists those there are. It was renamed or removed."
        return refusal("Unknown job", told, 404)
    except NoSuchSeries as error:
        return refusal("Unknown series", str(error), 404)
    # Half of a surrogate pair cannot be UTF-8.
    return Response(text.encode("utf-8", "replace"), 200, {**HEADERS, **(headers or {})}, kind)


def refusal(title: str, text: str, status: int) -> Response:
    """Answer what happened and what to do."""
    more = {"Retry-After": "5"} if status == 503 else {}
    return HTMLResponse(pages.refusal_page(title, text), status, HEADERS | more)


def query(asked: Mapping[str, str], **more: int) -> str:
    """Write parameters of an address; one of `more` goes before what was asked for."""
    every = {name: value for name, value in asked.items() if name not in {"offset", "limit"} | more.keys()}
    text = urlencode(every | {name: str(value) for name, value in more.items()}, errors="replace")
    return f"?{text}" if text else ""

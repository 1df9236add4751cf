"""All endpoints of the pages for people."""

from collections.abc import Callable

from starlette.routing import Route

from exporter.web.ui.api_routes import ApiRoutes
from exporter.web.ui.endpoints import Endpoints
from exporter.web.ui.facts import Running
from exporter.web.ui.feedback_api import FeedbackApi
from exporter.web.ui.feedback_pages import FeedbackPages
from exporter.web.ui.history import History
from exporter.web.ui.job_routes import JobRoutes
from exporter.web.ui.page_routes import PageRoutes
from exporter.web.ui.preview_api import PreviewApi
from exporter.web.ui.related_routes import RelatedApi
from exporter.web.ui.rights import Rights
from exporter.web.ui.turns import Turn
from exporter.web.ui.workbench_routes import WorkbenchPages

Kind = Callable[[Running, History, Turn, Turn, Rights], Endpoints]
_MOST_QUICK, _MOST_SLOW, _MOST_TRYING = 64, 8, 16
"""Requests that wait for an answer from memory, for one that may ask the source, and for a replay."""


def ui_routes(running: Running, may_act: bool = False) -> list[Route]:
    """Return the pages and their API; `may_act` tells whether people may answer incidents."""
    history, quick, rights = History(running.read), Turn(_MOST_QUICK), Rights(running, may_act)
    turns: dict[Kind, Turn] = {
        **dict.fromkeys((ApiRoutes, RelatedApi, PageRoutes, JobRoutes, FeedbackApi, FeedbackPages), Turn(_MOST_SLOW)),
        **dict.fromkeys((WorkbenchPages, PreviewApi), Turn(_MOST_TRYING)),
    }
    parts = [kind(running, history, quick, slow, rights) for kind, slow in turns.items()]
    return [route for part in parts for route in part.routes()]

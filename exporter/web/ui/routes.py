"""All endpoints of the pages for people."""

from starlette.routing import Route

from exporter.web.ui.api_routes import ApiRoutes
from exporter.web.ui.facts import Running
from exporter.web.ui.feedback_api import FeedbackApi
from exporter.web.ui.feedback_pages import FeedbackPages
from exporter.web.ui.history import History
from exporter.web.ui.job_routes import JobRoutes
from exporter.web.ui.page_routes import PageRoutes
from exporter.web.ui.rights import Rights
from exporter.web.ui.turns import Turn
from exporter.web.ui.workbench_routes import WorkbenchRoutes

_MOST_QUICK, _MOST_SLOW = 64, 8
"""Requests that wait for an answer from memory, and for one that may ask the source."""


def ui_routes(running: Running, may_act: bool = False) -> list[Route]:
    """Return the pages and their API; `may_act` tells whether people may answer incidents."""
    history, quick, slow = History(running.read), Turn(_MOST_QUICK), Turn(_MOST_SLOW)
    rights = Rights(running, may_act)
    kinds = (ApiRoutes, PageRoutes, JobRoutes, FeedbackApi, FeedbackPages)
    parts = [*(kind(running, history, quick, slow, rights) for kind in kinds), WorkbenchRoutes(running)]
    return [route for part in parts for route in part.routes()]

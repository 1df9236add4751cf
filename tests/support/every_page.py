"""All pages for people, for the tests that look at every page: taken from the routes, so that none is missed."""

from exporter.web.ui.facts import Running
from exporter.web.ui.routes import ui_routes

ASKED = {
    "/series": ("?job=api", '?job=api&match=namespace="shop",service="checkout"', "?job=nope"),
    "/past": ("", "?start=x"),
}
"""What is asked of a page, if it has parameters; every other page is asked as it is."""


def every_page(running: Running) -> list[str]:
    """Return the addresses of all pages, some with what they are asked."""
    paths = {
        route.path
        for route in ui_routes(running)
        if "GET" in (route.methods or ()) and not route.path.startswith(("/api/", "/static/")) and "." not in route.path
        and "{" not in route.path
    }  # fmt: skip
    return [f"{path}{asked}" for path in sorted(paths) for asked in ASKED.get(path, ("",))]

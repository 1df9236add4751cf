"""What messages show of our own pages: their address as seen from elsewhere, and pictures of incidents."""

import socket
import threading
from collections.abc import Callable

from exporter.config.sections.service import WebConfig
from exporter.sinks.notify.pages import OurPages
from exporter.web.server import Server
from exporter.web.ui.facts import Running
from exporter.web.ui.identity import link
from exporter.web.ui.picture import incident_picture, warm_up
from exporter.web.ui.related_told import companions_told


def our_pages(web: Callable[[], WebConfig], server: Callable[[], Server], running: Callable[[], Running]) -> OurPages:
    """Return it; the callables are asked only once the exporter runs."""

    def start() -> str:
        return f"{web().external_url or address_of(server())}/"

    def home() -> str:
        return start() + ("" if web().ui else "api/v1/anomalies?flag=true")

    return OurPages(
        home,
        lambda job, key, since: f"{start()}{link(job, key, since)}",
        lambda incident: incident_picture(running(), incident),
        lambda each: companions_told(running(), each.job, each.key, each.since),
        _warm_up,
    )


def _warm_up() -> None:
    threading.Thread(target=warm_up, name="pictures", daemon=True).start()


def address_of(server: Server) -> str:
    """Return the address of our own port as seen from elsewhere, as far as we can know."""
    host, port = server.address
    name = socket.gethostname() if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - compared, not bound
    scheme, name = server.url.partition("://")[0], f"[{name}]" if ":" in name else name
    return f"{scheme}://{name}:{port}"

"""Two hundred targets of a real Prometheus: one stops, one is killed, fifty are rolled, a label of one is renamed."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.servers import ExporterServer, PrometheusServer
from tests.e2e.conftest import Page
from tests.support.waiting import eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]
COUNT, STEP = 200, 5
FAMILY = "anomaly_series_vanished"


class Fleet:
    """Small targets, all served by one process: `/t/NAME`."""

    def __init__(self, targets: Path) -> None:
        self.killed: set[str] = set()
        self.stopped: set[str] = set()
        self.renamed: set[str] = set()
        self.names = [f"i{n}" for n in range(COUNT)]
        self._targets = targets
        fleet = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                label = "route" if name in fleet.renamed else "path"
                body = "" if name in fleet.stopped else f'load{{{label}="/"}} {len(name)}\n'
                data = f"# TYPE load gauge\n{body}other 1\n".encode()
                self.send_response(500 if name in fleet.killed else 200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.write()

    def write(self) -> None:
        address = f"127.0.0.1:{self._server.server_port}"
        found = [
            {"targets": [address], "labels": {"instance": name, "app": "web", "__metrics_path__": f"/t/{name}"}}
            for name in self.names
        ]
        part = self._targets.with_suffix(".part")
        part.write_text(json.dumps(found))
        part.rename(self._targets)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path / "targets.json")
    yield made
    made.close()


def told(url: str) -> dict[str, str]:
    """Return the reason by instance."""
    return {dict(labels)["instance"]: dict(labels)["reason"] for labels in Page(url).get(FAMILY)}


def test_each_has_its_word_within_two_cycles(
    fleet: Fleet, tmp_path: Path, exporter: Callable[..., ExporterServer]
) -> None:
    scrape = {"web": {"file_sd_configs": [{"files": [str(tmp_path / "targets.json")], "refresh_interval": "5s"}]}}
    with PrometheusServer(tmp_path / "prometheus", scrape=scrape, interval=f"{STEP}s") as prometheus:
        job = {"expr": "load", "step": f"{STEP}s", "window": "1m", "detector": "robust", "history": "1m"}
        page = exporter({"prometheus": {"url": prometheus.url}, "jobs": {"load": job}})
        eventually(lambda: Page(page.url).one("anomaly_exporter_series", query="load", state="ready") == COUNT)
        begun = Page(page.url).cycles("load")
        eventually(lambda: Page(page.url).cycles("load") >= begun + 18)
        assert told(page.url) == {}
        fleet.killed.add("i0")
        fleet.stopped.add("i1")
        fleet.renamed.add("i2")
        fleet.names[3:53] = [f"new{n}" for n in range(50)]
        fleet.write()
        wanted = {"i0": "down", "i1": "stopped", "i2": "replaced"} | {f"i{n}": "replaced" for n in range(3, 53)}
        eventually(lambda: len(told(page.url)) >= len(wanted))
        seen = Page(page.url).cycles("load")
        try:
            eventually(lambda: told(page.url) == wanted, within=30)
        except AssertionError:
            raise AssertionError(f"{set(told(page.url).items()) ^ set(wanted.items())}") from None
        assert Page(page.url).cycles("load") - seen <= 2
        fleet.killed.clear()
        fleet.stopped.clear()
        eventually(lambda: not {"down", "stopped"} & set(told(page.url).values()))

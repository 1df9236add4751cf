"""The pictures of docs/ui.md, made of the real pages: `python -m tests.support.page_pictures`."""

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
from matplotlib import image
from numpy.typing import NDArray

from detectors.streams import STREAMS
from detectors.types import Streams
from detectors.units import DAY
from exporter.config.sections.service import WebConfig
from exporter.observe.health import Health
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server
from exporter.web.ui.bench import Choice, Question
from exporter.web.ui.picture import incident_picture
from tests.support.browser import Browser
from tests.support.pages import STEP, Watched
from tests.support.streams import streams
from tests.support.verdicts import key, verdict
from tests.support.workbench import ShownBench, outcome

FOLDER = Path(__file__).parents[2] / "docs/images"
_FORM = slice(1750, 2217)
"""Where the form for answers is on the page of the incident, in pixels."""
CHANNELS = ("p99", "rps")
JOBS = {
    "api": {"channels": {"p99": "request_duration_seconds", "rps": "requests_per_second"}},
    "node-memory": {"expr": "node_memory_MemAvailable_bytes"},
}


def watched(**config: Any) -> Watched:
    """Return an exporter that watches a shop whose checkout has become slow, while another job replays its history."""
    shop = Watched(jobs=JOBS, **config)
    keys = tuple(key(namespace="shop", service=name) for name in ("checkout", "cart", "search"))
    rng = np.random.default_rng(3)
    since, before = np.full(3, np.nan), np.zeros(3, np.bool_)
    for ago in range(119, -1, -1):
        at = shop.now - ago * STEP
        usual = np.tile([0.12, 340.0], (3, 1)) * (1 + 0.3 * math.sin(ago / 40))
        values = usual * (1 + [0.08, 0.04] * rng.normal(size=(3, 2)))
        flag = np.array([ago < 26, 60 < ago < 75, False])
        if flag[0]:
            values[0] = 0.41 + 0.04 * rng.normal(), 120 + 8 * rng.normal()
        if flag[1]:
            values[1, 0] = 0.3
        since = np.where(flag, np.where(before, since, at), np.nan)
        made = verdict(
            keys, job="api", detector="auto", channels=CHANNELS, values=values, expected=usual, lower=usual * 0.75,
            upper=usual * 1.3, contribution=np.tile([0.8, 0.2], (3, 1)), flag=flag, changed=flag != before,
            score=np.where(flag, 3.7, 0.3) + 0.05 * rng.normal(size=3), alert=flag & [ago < 22, False, False],
            severity=np.where(flag, (26 - ago) * 2.3, 0.0), since=since,
        )  # fmt: skip
        evidence = _evidence(np.flatnonzero(flag)) if flag.any() else None
        shop.show(dataclasses.replace(made, time=at, needed=np.where(flag, 9.4, np.nan), streams=evidence))
        before = flag
    shop.health["node-memory"] = Health(progress=0.43, warming=38)
    return shop


TRIED = Question("node_memory_MemAvailable_bytes", "free-memory", 60.0, 3 * DAY, Choice("below", 2e9, 2.0))


def with_workbench(shop: Watched) -> Watched:
    """Let the workbench show what three days of a few machines would have been."""
    shop.bench = ShownBench(
        outcome(5, 4 * 1440, TRIED.name, 6e9, {"expr": TRIED.expr, "direction": "below", "least_deviation": 2e9}), TRIED
    )
    return shop


def _evidence(rows: NDArray[np.intp]) -> Streams:
    size = {"second largest channel": -9.4, "broken correlation": 6.2, "volatility of all channels": 3.9}
    period = {"second largest channel": 2.9e7, "broken correlation": 4.1e6, "volatility of all channels": 2.6e5}
    found = streams(rows.tolist(), size, period, by_hour=True)
    found.channel[:, STREAMS.index("second largest channel")] = 1
    found.channel[:, STREAMS.index("broken correlation")] = 0
    return found


def answered(url: str, incidents: list[dict[str, Any]]) -> None:
    """Answer two incidents."""
    new = {
        "job": "api",
        "labels": incidents[0]["labels"],
        "who": "eva",
        "kind": "incident",
        "why": "Full disk, OPS-1207.",
    }
    httpx.post(f"{url}/api/v1/answers", json=new, trust_env=False).raise_for_status()
    nightly = {
        "labels": {"namespace": "shop", "service": "cart"},
        "kind": "expected",
        "when": "daily",
        "why": "Export, OPS-871",
    }
    httpx.post(f"{url}/api/v1/answers", json=new | nightly, trust_env=False).raise_for_status()


def main() -> None:
    """Make all of them."""
    FOLDER.mkdir(exist_ok=True)
    state = tempfile.TemporaryDirectory()
    shop = with_workbench(watched(state={"path": state.name}))
    hooks = Callbacks(lambda: True, lambda: None, feed=shop.feed, running=shop.running)
    server = Server(WebConfig(listen="127.0.0.1:0", actions=True), Page(SelfMetrics()), hooks)
    server.start()
    try:
        now = httpx.get(f"{server.url}/api/v1/now", trust_env=False).json()
        incidents = now["groups"][0]["incidents"]
        incident = incidents[0]["link"]
        with tempfile.TemporaryDirectory() as folder:
            browser = Browser(Path(folder))
            browser.picture(server.url, 1000, 560, file=FOLDER / "page-now.png")
            browser.picture(f"{server.url}/{incident}", 1000, 1100, file=FOLDER / "page-incident.png")
            browser.picture(server.url, 390, 900, dark=True, file=FOLDER / "page-now-phone-dark.png")
            seen = browser.picture(f"{server.url}/{incident}", 1000, 2600)
            image.imsave(FOLDER / "page-answer.png", seen[_FORM])
            browser.picture(f"{server.url}/job?job=api&range=6h", 1000, 900, file=FOLDER / "page-job.png")
            answered(server.url, incidents)
            asked = {"preview": "x", "expr": TRIED.expr, "name": TRIED.name, "range": "3d"}
            workbench = f"{server.url}/workbench?{urlencode(asked)}"
            browser.picture(workbench, 1000, 1180, file=FOLDER / "page-workbench.png")
            browser.picture(f"{server.url}/answers", 1000, 420, file=FOLDER / "page-answers.png")
        worst = max(shop.incidents.every(), key=lambda each: each.incident.severity or 0.0)
        (FOLDER / "message-picture.png").write_bytes(incident_picture(shop.running, worst.incident) or b"")
    finally:
        server.stop()
        state.cleanup()


if __name__ == "__main__":
    main()

"""The page in a real browser: drawn, fitting a phone, silent, and without any network."""

import json
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from deploy.demo.process import command
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.servers
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> str:
    found = command("chromium", "chromium-browser", "google-chrome")
    if found is None:  # not on every distribution a package, unlike the servers
        pytest.skip("no browser here: apt-get install chromium")
    return found


def looked_at(chromium: str, page: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open the page in a browser of its own and return what it says."""
    file = folder / "report.html"
    file.write_text(page)
    return subprocess.run(
        [chromium, *_QUIET, f"--user-data-dir={folder / 'profile'}", *flags, file.as_uri()],
        capture_output=True, text=True, check=True, timeout=2 * PATIENCE,
    )  # fmt: skip


def pixels(seen: np.ndarray, color: str) -> int:
    """Count the pixels of a colour, exactly."""
    wanted = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)], np.uint8)
    return int((seen == wanted).all(axis=2).sum())


def test_a_browser_draws_the_page_without_complaint_script_or_network(chromium, written, tmp_path):
    log = tmp_path / "net.json"
    seen = looked_at(chromium, written["page"], tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert "<title>Anomalies: the week to" in seen.stdout  # the script in a label would have changed it
    assert seen.stdout.count("<svg") == 5
    assert "CONSOLE" not in seen.stderr
    events = json.loads(log.read_text())["events"]
    asked = {urlsplit(event["params"]["url"]) for event in events if "url" in event.get("params", {})}
    own = ("google.com", "googleapis.com")  # the browser's, of which it gets no answer here
    assert {url for url in asked if url.scheme != "file" and not (url.hostname or "").endswith(own)} == set()


@pytest.mark.parametrize("width", [500, 1000])
def test_the_pictures_are_seen_and_nothing_sticks_out_on_a_phone_or_a_screen(chromium, written, tmp_path, width):
    shot = tmp_path / "shot.png"
    looked_at(chromium, written["page"], tmp_path, f"--screenshot={shot}", f"--window-size={width},4200")
    from matplotlib import image

    seen = np.round(image.imread(shot)[:, :, :3] * 255).astype(np.uint8)
    assert seen.shape[1] == width
    assert (seen[:, -4:] == 255).all(), "something sticks out at the right"
    for color in ("#d9534f", "#cfe8d5", "#9aa0a6", "#f0b429", "#7b3fa0", "#1f3b57"):
        assert pixels(seen, color) > 20, color

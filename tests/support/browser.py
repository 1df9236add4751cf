"""A real browser without a window: what it makes of a page, and how that looks."""

import json
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from matplotlib import image

from deploy.demo.process import command
from tests.support.waiting import PATIENCE

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--enable-logging=stderr",
)  # fmt: skip
_OWN = ("google.com", "googleapis.com")
"""Hosts that the browser asks for itself, of which it gets no answer here."""


class Browser:
    """Opens one page at a time, in a browser of its own; no name of another host can be found.

    Parameters
    ----------
    folder : Path
        Holds its profiles and logs.
    """

    def __init__(self, folder: Path) -> None:
        found = command("chromium", "chromium-browser", "google-chrome")
        if found is None:  # not on every distribution a package, unlike the servers
            pytest.skip("no browser here: apt-get install chromium")
        self._command, self._folder = found, folder
        self.complaints = ""

    def _open(self, url: str, *flags: str) -> str:
        own = urlsplit(url).hostname
        rules = f"--host-resolver-rules=MAP * ~NOTFOUND{f', EXCLUDE {own}' if own else ''}"
        done = subprocess.run(
            [self._command, *_QUIET, rules, f"--user-data-dir={self._folder / 'profile'}", *flags, url],
            capture_output=True, text=True, check=True, timeout=2 * PATIENCE,
        )  # fmt: skip
        self.complaints = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
        return done.stdout

    def read(self, url: str, after: float = 0.0) -> tuple[str, set[str]]:
        """Return the page as it is after so many of its seconds, and the addresses that were asked for.

        The page's seconds pass as fast as it lets them.
        """
        log = self._folder / "net.json"
        wait = [f"--virtual-time-budget={1000 * after:.0f}"] if after else []
        page = self._open(url, "--dump-dom", f"--log-net-log={log}", *wait)
        events = json.loads(log.read_text())["events"]
        asked = {event["params"]["url"] for event in events if "url" in event.get("params", {})}
        return page, {each for each in asked if not (urlsplit(each).hostname or "").endswith(_OWN)}

    def picture(self, url: str, width: int, height: int, dark: bool = False, file: Path | None = None) -> np.ndarray:
        """Return how the page looks, shape (height, width, 3)."""
        shot = file or self._folder / "shot.png"
        flags = ["--blink-settings=preferredColorScheme=0"] if dark else []
        self._open(url, f"--screenshot={shot}", f"--window-size={width},{height}", *flags)
        return np.round(image.imread(shot)[:, :, :3] * 255).astype(np.uint8)


def pixels(seen: np.ndarray, color: str) -> int:
    """Count the pixels of a colour, exactly."""
    wanted = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)], np.uint8)
    return int((seen == wanted).all(axis=2).sum())

"""A real browser that stays on a page: it points, drags, types, and asks axe-core what it thinks of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, sync_playwright

from deploy.demo.process import command

_SERIOUS = {"serious", "critical"}


@contextmanager
def visit(url: str, width: int = 1000, height: int = 900, dark: bool = False, script: bool = True) -> Iterator[Page]:
    """Open a page; fail on any message of the browser and on any request to another host."""
    found = command("chromium", "chromium-browser", "google-chrome")
    if found is None:
        pytest.skip("no browser here: apt-get install chromium")
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )  # fmt: skip
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if _foreign(request.url, url) else None)
        page.goto(url)
        yield page
        browser.close()
    # A page that says what cannot be shown has the status of a refusal, which the browser mentions.
    assert [each for each in said if not each.startswith("Failed to load resource: the server responded")] == []


def _foreign(asked: str, own: str) -> bool:
    return urlsplit(asked).netloc != urlsplit(own).netloc and not asked.startswith(("data:", "blob:"))


def faults(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical: rule, what it means, and where."""
    if not page.evaluate("() => Boolean(window.axe)"):
        # As the browser's own code: the policy of the page lets no script of others in.
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']} ({each['help']}): {node['target']} {node['html'][:160]}"
        for each in found["violations"]
        if each["impact"] in _SERIOUS
        for node in each["nodes"]
    ]

"""The page in a real browser: drawn, fitting a phone, silent, and without any network."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.browser import Browser, pixels

pytestmark = pytest.mark.servers


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path)


def written_to(folder: Path, page: str) -> str:
    file = folder / "report.html"
    file.write_text(page)
    return file.as_uri()


def test_a_browser_draws_the_page_without_complaint_script_or_network(browser, written, tmp_path):
    page, asked = browser.read(written_to(tmp_path, written["page"]))
    assert "<title>Anomalies: the week to" in page  # the script in a label would have changed it
    assert page.count("<svg") == 5
    assert browser.complaints == ""
    assert {url for url in asked if urlsplit(url).scheme != "file"} == set()


@pytest.mark.parametrize("width", [500, 1000])
def test_the_pictures_are_seen_and_nothing_sticks_out_on_a_phone_or_a_screen(browser, written, tmp_path, width):
    seen = browser.picture(written_to(tmp_path, written["page"]), width, 4200)
    assert seen.shape[1] == width
    assert (seen[:, -4:] == 255).all(), "something sticks out at the right"
    for color in ("#d9534f", "#cfe8d5", "#9aa0a6", "#f0b429", "#7b3fa0", "#1f3b57"):
        assert pixels(seen, color) > 20, color

"""The graphs of a series in a real browser: read with a pointer and by keyboard, zoomed, and fit for everybody."""

import re

import httpx
import pytest

from tests.support.page_pictures import watched
from tests.support.visit import faults, visit

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def shop():
    return watched()


@pytest.fixture
def incident(serve, shop) -> str:
    url = serve(running=shop.running).url
    now = httpx.get(f"{url}/api/v1/now", trust_env=False).json()
    return f"{url}/{now['groups'][0]['incidents'][0]['link']}"


def test_a_pointer_reads_all_graphs_at_one_time_and_draws_a_range(incident):
    with visit(incident) as page:
        page.wait_for_selector(".readout")
        box = page.locator(".plot").first.bounding_box()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 20)
        told = page.locator(".readout").inner_text()
        assert re.match(
            r"20\d\d-\d\d-\d\d \d\d:\d\d UTC: p99: observed [0-9.]+ ms, expected .* ms\); rps: .*; alert$", told
        )
        cursors = page.locator(".cursor")
        assert cursors.count() == 3
        assert {cursors.nth(at).get_attribute("style") for at in range(3)} == {cursors.first.get_attribute("style")}
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 60, steps=4)
        assert page.locator(".brush").first.is_visible()
        with page.expect_navigation():
            page.mouse.up()
        query = httpx.URL(page.url).params
        assert 1200 < float(query["range"]) < 3600
        page.wait_for_selector(".readout")


def test_the_keyboard_reads_and_zooms_too(incident):
    with visit(incident) as page:
        page.wait_for_selector(".readout")
        plot = page.locator(".plot").first
        plot.focus()
        page.keyboard.press("End")
        last = page.locator(".readout").inner_text()
        page.keyboard.press("ArrowLeft")
        assert page.locator(".readout").inner_text() != last
        for _ in range(30):
            page.keyboard.press("Shift+ArrowLeft")
        assert page.locator(".readout").inner_text().endswith("Enter zooms")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert float(httpx.URL(page.url).params["range"]) == 1800
        page.locator(".plot").first.focus()
        page.keyboard.press("Escape")


def test_without_scripts_the_graphs_and_their_numbers_are_there(incident):
    with visit(incident, script=False) as page:
        assert page.locator("svg.graph").count() == 3
        assert page.locator(".readout").count() == 0
        assert "The newest samples as a table" in page.inner_text("main")


@pytest.mark.parametrize("dark", [False, True])
def test_reading_a_graph_leaves_nothing_serious_for_axe(incident, dark):
    with visit(incident, dark=dark) as page:
        page.wait_for_selector(".readout")
        page.locator(".plot").first.hover()
        assert faults(page) == []

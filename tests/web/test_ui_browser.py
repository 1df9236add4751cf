"""The pages in a real browser that stays on them."""

from pathlib import Path

import httpx
import pytest

from tests.support.browser import Browser
from tests.support.pages import Watched
from tests.support.verdicts import key
from tests.support.visit import visit

pytestmark = pytest.mark.servers
A = key(instance="a")


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path)


class Changing(Watched):
    """Quiet for whoever looks first; then `happens`."""

    looked = 0

    def facts(self):
        self.looked += 1
        if self.looked == 2:
            self.happens()
        return super().facts()


def test_a_page_that_stays_open_shows_what_happens(serve, browser):
    watched = Changing()
    watched.minutes((A,), 10, lambda ago: [False])
    watched.happens = lambda: watched.minutes((A,), 3, lambda ago: [True])
    page, _ = browser.read(serve(running=watched.running).url, after=40)
    assert watched.looked >= 2
    assert "1 alert</h1>" in page
    assert "<title>1 alert" in page
    assert 'id="lost" role="status" hidden=""' in page
    assert browser.complaints == ""


def test_a_page_that_stays_open_says_when_nobody_answers_and_keeps_what_was_known(serve, browser):
    watched = Changing()
    watched.minutes((A,), 10, lambda ago: [ago < 5])

    def happens():
        raise MemoryError

    watched.happens = happens
    page, _ = browser.read(serve(running=watched.running).url, after=20)
    assert "1 alert</h1>" in page
    assert 'id="lost" role="status">The exporter does not answer since <span>20' in page


@pytest.fixture(scope="module")
def fleet() -> Watched:
    """Ten thousand series, 200 of them with an open incident."""
    watched, keys = Watched(), tuple(key(instance=f"node-{at:05}") for at in range(10_000))
    watched.minutes(keys, 40, lambda ago: [at < 200 and ago < 20 for at in range(10_000)])
    return watched


def test_a_page_of_ten_thousand_series_is_small(serve, fleet):
    assert len(httpx.get(serve(running=fleet.running).url, trust_env=False, timeout=30).content) < 300_000


@pytest.mark.parametrize("width", [390, 1000])
def test_ten_thousand_series_are_painted_from_few_bytes(serve, fleet, width):
    url = serve(running=fleet.running).url
    with visit(url, width=width) as page:
        entries = page.evaluate(
            """() => new Promise((done) => {
              const kinds = ["paint", "navigation", "resource"];
              const all = () => kinds.flatMap((kind) => performance.getEntriesByType(kind));
              const look = () => all().some((each) => each.name === "first-contentful-paint")
                ? done(all().map((each) => each.toJSON())) : setTimeout(look, 50);
              look();
            })"""
        )
    assert "first-contentful-paint" in {each["name"] for each in entries}
    weight = sum(each.get("transferSize", 0) for each in entries)
    assert 50_000 < weight <= 300_000

"""What axe-core finds on every page, in light and dark, wide and on a phone."""

import pytest

from tests.support.every_page import every_page
from tests.support.page_pictures import watched
from tests.support.visit import faults, visit

pytestmark = pytest.mark.servers
SHOP = watched()


@pytest.mark.parametrize(("dark", "width"), [(False, 1000), (True, 1000), (False, 390), (True, 390)])
def test_axe_finds_nothing_serious_on_any_page(serve, dark, width):
    url = serve(running=SHOP.running).url
    found = {}
    with visit(url, width, dark=dark) as page:
        for address in every_page(SHOP.running):
            page.goto(f"{url}{address}")
            if wrong := faults(page):
                found[address] = wrong
            wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if wide > 0:
                found.setdefault(address, []).append(f"{wide} points wider than the window")
    assert found == {}


def test_every_page_can_be_used_by_keyboard_alone(serve):
    url = serve(running=SHOP.running).url
    with visit(url) as page:
        for address in every_page(SHOP.running):
            page.goto(f"{url}{address}")
            page.keyboard.press("Tab")
            assert page.evaluate("() => document.activeElement.className") == "skip", address
            page.keyboard.press("Enter")
            assert page.evaluate("() => document.activeElement.id") == "main", address

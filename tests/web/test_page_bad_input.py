"""What goes wrong while somebody looks: each page says what happened and what to do, and keeps what is known."""

import re
import threading

import httpx
import pytest

from exporter.observe.health import Health
from exporter.source.errors import Unreachable
from tests.support.every_page import every_page
from tests.support.page_pictures import watched as a_shop
from tests.support.pages import STEP, Watched
from tests.support.verdicts import key
from tests.support.visit import visit

A, B = key(instance="a"), key(instance="b")
pytestmark = pytest.mark.servers


@pytest.fixture
def watched(tmp_path) -> Watched:
    return Watched(state={"path": str(tmp_path / "state")})


def test_an_entity_that_is_gone_is_said_to_be_and_its_incident_is_still_there(serve, watched):
    watched.minutes((A, B), 30, lambda ago: [False, ago < 10])
    url = serve(running=watched.running, actions=True).url
    link = httpx.get(f"{url}/api/v1/now", trust_env=False).json()["groups"][0]["incidents"][0]["link"]
    watched.minutes((A,), 3, lambda _: [False])
    with visit(f"{url}/{link}", script=False) as page:
        told = page.inner_text("main")
        assert "the source does not have this series any more" in told
        assert "How it ended" in told
        assert page.locator("svg.graph").count() >= 1
        assert "Answer this incident" in told  # what it was can still be said
        page.click("text=back to the incident")
        assert "the source does not have this series any more" in page.inner_text("main")


def test_a_range_without_data_says_so_and_leads_back(serve, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    url = serve(running=watched.running).url
    asked = f"{url}/series?job=cpu&match=instance%3D%22a%22&range=3600&end={watched.now - 40 * 86_400:.0f}"
    with visit(asked) as page:
        told = page.inner_text("main")
        assert "No values are known in this range" in told
        assert "The source has no values of this series in this range" in told
        assert page.locator("svg.graph").count() == 0
        page.click("nav.ranges >> text=back to the")
        assert page.locator("svg.graph").count() >= 1


@pytest.mark.parametrize("width", [390, 1000])
def test_without_javascript_every_page_says_as_much_as_with_it(serve, width):
    shop = a_shop()
    url = serve(running=shop.running, actions=None).url

    def words(script: bool) -> dict[str, set[str]]:
        found = {}
        with visit(url, width, script=script) as page:
            for address in every_page(shop.running):
                page.goto(f"{url}{address}")
                assert page.locator("h1").count() == 1, address
                shown = re.sub(r"\d+ (s|min)|[\d.]+ ms|\d\d:\d\d", "", page.inner_text("main"))
                found[address] = set(shown.split())
        return found

    without, with_it = words(False), words(True)
    for address, seen in without.items():
        assert not with_it[address] - seen - HINTS, address
        assert len(seen) > 5


_HINT = "Point at a graph to read it, drag to zoom; by keyboard: arrows, with Shift to mark, Enter to zoom. Copy"
HINTS = set(_HINT.split())
"""What scripts add: how to use what only they can do."""


def test_a_source_that_goes_down_while_the_page_is_open_leaves_what_is_known_dated(serve, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    with visit(serve(running=watched.running).url) as page:
        assert "1 alert" in page.inner_text("h1")
        watched.health["cpu"] = Health(9, 2, reason="unreachable", error="connection refused at prometheus:9090",
                                       failing_since=watched.now, progress=1.0)  # fmt: skip
        page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")  # as coming back to the page does
        page.wait_for_selector("text=connection refused at prometheus:9090")
        told = page.inner_text("main")
        assert "1 alert" in page.inner_text("h1")
        assert "No new verdicts since" in told
        assert "Quiet" not in told


def test_the_page_of_an_incident_whose_source_is_down_keeps_what_is_remembered(serve, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])

    def refuse(*_):
        raise Unreachable("nobody answers at prometheus:9090")

    watched.read = refuse
    with visit(f"{serve(running=watched.running).url}/series?job=cpu&range=86400", script=False) as page:
        told = page.inner_text("main")
        assert "only what the exporter remembers is shown: nobody answers at prometheus:9090" in told
        assert page.locator("svg.graph").count() >= 1


def test_of_two_people_who_answer_in_the_same_moment_one_is_told_of_the_other(serve, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    url, together, codes = serve(running=watched.running, actions=True).url, threading.Barrier(6), []

    def answer(who: str, kind: str) -> None:
        new = {"kind": kind, "job": "cpu", "labels": dict(A), "why": "seen", "who": who}
        together.wait()
        given = httpx.post(f"{url}/api/v1/answers", json=new, trust_env=False, timeout=60)
        codes.append((given.status_code, given.json().get("error", "")))

    threads = [threading.Thread(target=answer, args=(f"p{at}", ("expected", "incident")[at % 2])) for at in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(code for code, _ in codes) == [201, *[409] * 5]
    (kept,) = watched.running.feedback.every()
    assert all(f"{kept.who} has answered this incident already" in told for code, told in codes if code == 409)


def test_an_incident_that_closed_while_its_form_was_open_can_be_answered_as_far_as_it_makes_sense(serve, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    url = f"{serve(running=watched.running, actions=True).url}/series?job=cpu"
    with visit(url) as page:
        watched.now += 3 * STEP
        watched.minutes((A,), 3, lambda _: [False])
        page.check("input[value=normal]")
        page.fill("textarea[name=why]", "new release")
        page.click("form.answer button")
        told = page.inner_text("main")
        assert "there is no level to accept" in told
        assert "answer that it was expected" in told
    assert not watched.running.feedback.every()

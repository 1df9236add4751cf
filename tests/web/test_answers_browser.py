"""Answers in a real browser: with and without scripts, under a name that is no local address, and by keyboard."""

from contextlib import suppress

import pytest

from tests.support.pages import Watched
from tests.support.verdicts import key
from tests.support.visit import faults, visit

A = key(instance="a")


@pytest.fixture
def url(serve, tmp_path):
    watched = Watched(jobs={"cpu": {"expr": "node_memory_free_bytes"}}, state={"path": str(tmp_path / "state")})
    watched.minutes((A,), 60, lambda ago: [ago < 10])
    return watched, f"{serve(running=watched.running, actions=True).url}/series?job=cpu&match=instance%3D%22a%22"


@pytest.mark.parametrize("script", [True, False])
def test_an_incident_is_answered_and_the_answer_taken_back_with_a_click_each(url, script):
    watched, address = url
    with visit(address, script=script) as page:
        page.check("input[value=expected]")
        page.select_option("select[name=when]", "daily")
        page.fill("textarea[name=why]", "nightly backup")
        page.fill("input[name=who]", "eva")
        page.click("form.answer button")
        page.wait_for_selector(".answers li")
        assert "every day around" in page.inner_text(".answers li")
        assert page.url.endswith("#answers")
        page.click(".answers li button")
        page.wait_for_selector("text=taken back by")
    (kept,) = watched.running.feedback.every()
    assert (kept.who, kept.expectation.when, kept.undone is not None) == ("eva", "daily", True)


def test_an_incident_is_answered_by_keyboard_alone(url):
    watched, address = url
    with visit(address) as page:
        page.focus("a[href='#answers']")
        page.keyboard.press("Enter")
        page.focus("input[value=expected]")
        page.keyboard.press("Space")
        for _ in range(3):
            page.keyboard.press("Tab")
        page.focus("textarea[name=why]")
        page.keyboard.type("a backup")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type("eva")
        page.keyboard.press("Enter")
        page.wait_for_selector(".answers li")
    assert watched.running.feedback.every()[0].who == "eva"


@pytest.mark.parametrize("dark", [False, True])
def test_the_form_and_the_list_have_no_serious_fault(url, dark):
    _, address = url
    with visit(address, dark=dark) as page:
        assert faults(page) == []
        page.check("input[value=incident]")
        page.fill("textarea[name=why]", "real")
        page.click("form.answer button")
        page.wait_for_selector(".answers li")
        assert faults(page) == []
        page.goto(address.partition("series?")[0] + "answers")
        assert faults(page) == []


def test_a_page_of_another_host_cannot_answer(url, tmp_path, serve):
    watched, address = url
    own, evil = address.partition("/series?")[0], tmp_path / "evil.html"
    evil.write_text(f"<form method=post action='{own}/answers'><input name=token value=x><button>win</button></form>")
    told = ""
    with suppress(AssertionError), visit(address) as page:  # it complains of the other page
        page.goto(evil.as_uri())
        page.click("button")
        told = page.inner_text("main")
    assert "Another page sent this" in told
    assert not watched.running.feedback.every()

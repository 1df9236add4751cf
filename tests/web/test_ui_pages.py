"""The pages for people: what they say, and that nothing of what they show can do anything."""

import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import httpx
import numpy as np
import pytest
import yaml

from exporter.labelled_incidents import read_incidents
from exporter.observe.health import Health
from exporter.web.ui.page_response import POLICY
from tests.support.pages import STEP, Watched
from tests.support.streams import streams
from tests.support.verdicts import key, verdict

A, B = key(instance="a"), key(instance="b")
EVIL = key(
    script="<script>alert(1)</script>", template="{{ 7001*7001 }}{% raw %}", turned="a\u202eb\u2066c\x00",
    quote="\"'><img src=x onerror=alert(1)>", long="z" * 4096, formula="=cmd|' /C calc'!A0", half="\ud800",
)  # fmt: skip
PAGES = ("/", "/past", "/status")


class Seen(HTMLParser):
    """What a browser would make of a page: tags with attributes, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def get(serve, watched):
    server = serve(running=watched.running)

    def get(path: str, status: int = 200) -> httpx.Response:
        answer = httpx.get(f"{server.url}/{path.lstrip('/')}", trust_env=False, timeout=30)
        assert answer.status_code == status, answer.text
        return answer

    return get


def text(answer: httpx.Response) -> str:
    return " ".join(Seen(answer.text).text.split())


def links(answer: httpx.Response, start: str) -> list[str]:
    return [each["href"] for tag, each in Seen(answer.text).tags if tag == "a" and each["href"].startswith(start)]


def test_the_first_page_says_what_is_wrong_since_when_and_why(get, watched):
    watched.minutes((A, B), 60, lambda ago: [ago < 10, False])
    page = get("/")
    told = text(page)
    for part in ("1 alert", "instance=a", "expected 5 B (normal: 4 B to 6 B)", "severity 20; an alert needs 12",
                 "worst at", "above 1 is anomalous", "2 of 2 series have a verdict now"):  # fmt: skip
        assert part in told
    assert page.text.count("<svg") == 1
    assert "What cannot be seen" not in told


def test_quiet_is_a_state_of_its_own(get, watched):
    watched.minutes((A, B), 60, lambda ago: [30 < ago < 40, False])
    page = get("/")
    told = text(page)
    assert "Quiet: nothing is unusual" in told
    assert "2 of 2 series have a verdict now, in 1 job" in told
    assert "1 of 1 alerts of this week's budget are used" in told
    assert re.search(r"3[01] min ago an incident was last open", told)
    assert 'class="mood quiet"' in page.text


@pytest.mark.parametrize(
    ("health", "told"),
    [
        (Health(3, 2, reason="unreachable", error="nobody answers", failing_since=1e9), "nobody answers"),
        (Health(progress=0.43, warming=38), "43% of its history replayed: 38 series without a verdict"),
        (
            Health(progress=0.43, warming=38, remaining=190.0),
            "43% of its history replayed, about 3 min to go: 38 series",
        ),
        (
            Health(progress=0.43, warming=38, remaining=190.0, first_look=True),
            "about 3 min to go. The scores of 38 series on /metrics are those of a first look",
        ),
    ],
)
def test_nothing_looks_healthy_by_accident(get, watched, health, told):
    watched.health["cpu"] = health
    page = get("/")
    assert "Nothing is known: no series has a verdict" in text(page)
    assert told in text(page)
    assert told in text(get("/status"))
    assert 'class="mood quiet"' not in page.text


def test_a_source_that_went_down_leaves_what_is_known_dated(get, watched):
    watched.minutes((A,), 30, lambda ago: [False])
    watched.health["cpu"] = Health(9, 2, reason="unreachable", error="nobody answers", failing_since=watched.now)
    told = text(get("/"))
    assert "Nothing found, but not everything can be seen" in told
    assert re.search(r"No new verdicts since .* what is shown is of \d\d:\d\d UTC: nobody answers", told)


def test_incidents_do_not_vanish_when_the_scores_of_their_job_are_withdrawn(get, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    (link,) = links(get("/"), "series?")
    watched.feed.withdraw("cpu")
    watched.health["cpu"] = Health(9, 2, reason="unreachable", error="nobody answers", failing_since=watched.now)
    told = text(get("/"))
    assert "Not known: 1 incident may still be open" in told
    assert "Open when they were last judged" in told
    assert "instance=a in cpu" in told
    assert links(get("/"), "series?") == [link]
    assert "whether it is over is not known" in text(get(link))


def test_the_page_of_an_incident_shows_it_open_and_over(get, watched):
    watched.minutes((A, B), 120, lambda ago: [ago < 10, ago < 9])
    (link, _) = links(get("/"), "series?")
    page = get(link)
    told = text(page)
    assert "Incident of job cpu" in told
    assert "open for 9 min" in told or "open for 10 min" in told
    assert "4 B to 6 B" in told
    assert "Began at the same time instance=b" in told
    assert page.text.count("<svg") == 2
    assert 'class="alert" d="M' in page.text
    watched.show(dataclasses.replace(
        verdict((A, B), changed=[True, True], score=[0.3, 0.3]), time=watched.now + STEP))  # fmt: skip
    told = text(get(link))
    assert "How it ended: back to normal." in told
    assert "was an alert" in told
    assert link in links(get("/past"), "series?")


def test_the_page_of_an_incident_says_what_was_sent_to_whom_and_its_worst_sample(serve):
    alerting = {"receivers": {"on-call": {"webhook": {"url": "http://h"}}}, "routes": {"ticket": ["on-call"]}}
    watched = Watched(alerting=alerting)
    watched.minutes((A, B), 60, lambda ago: [10 < ago < 30, False])
    [logged] = watched.incidents.past()
    watched.sent.note("slack_app", "beginning", [logged.incident], watched.now - 25 * STEP)
    watched.sent.note("slack_app", "end", [logged.incident], watched.now - 10 * STEP)
    url = serve(running=watched.running).url
    link = links(httpx.get(f"{url}/past", trust_env=False), "series?")[0]
    told = text(httpx.get(f"{url}/{link}", trust_env=False))
    assert re.search(r"What was sent to whom .* UTC to slack_app: the beginning.* UTC to slack_app: the end", told)
    assert "Alertmanager sends the alerts of this job to on-call" in told
    assert re.search(r"The worst sample of the incident, .* UTC.*value.* B ?5 B ?4 B to 6 B", told)
    answer = httpx.get(f"{url}/api/v1/{link}", trust_env=False).json()
    assert [each["what"] for each in answer["sent"]] == ["beginning", "end"]
    assert answer["routed"] == ["on-call"]


def test_a_link_without_a_time_leads_to_the_last_incidents_of_its_series(get, watched):
    """As those of alerts, which know no beginning."""
    watched.minutes((A, B), 60, lambda ago: [10 < ago < 30 or 40 < ago < 45, False])
    page = get('series?job=cpu&match=instance="a"')
    assert "Earlier incidents here" in text(page)
    first, second = [each for each in links(page, "series?") if "since=" in each]
    assert "was an alert" in text(get(first))
    assert links(get(first), "series?").count(second) == 1


def test_ranges_and_neighbours_of_a_range_are_links(get, watched):
    watched.minutes((A,), 30, lambda ago: [False])
    shown = get("series?job=cpu&range=3600")
    for link in links(shown, "series?"):
        get(link)
    assert 'aria-current="true">1 h' in shown.text
    assert "value a week earlier" in text(get("series?job=cpu&compare=week"))
    assert "earlier</span>" not in shown.text


def test_the_status_says_how_long_the_stages_of_a_cycle_take(get, watched):
    watched.minutes((A,), 10, lambda ago: [False])
    assert "its stagesfetch 42.1 ms, score 13.7 ms" in text(get("/status"))


def test_what_cannot_be_shown_says_what_happened_and_what_to_do(get, watched):
    assert "Status lists those there are" in text(get("series?job=gone", 404))
    assert "This address cannot be understood" in text(get("series?nonsense=1", 400))
    assert "This address cannot be understood" in text(get("past?start=now", 400))
    watched.minutes((A, B), 3, lambda ago: [False, False])
    assert "Which series?" in text(get("series?job=cpu"))
    gone = text(get('series?job=cpu&match=instance%3D"gone"'))
    assert "the source does not have this series any more" in gone
    assert "No values are known in this range" in gone


def test_past_incidents_can_be_taken_along(get, watched, tmp_path):
    watched.minutes((EVIL,), 60, lambda ago: [20 < ago < 30])
    page = get("/past")
    rows = list(csv.DictReader(io.StringIO(get("past.csv").text)))
    assert json.loads(rows[0]["labels"])["formula"] == dict(EVIL)["formula"]
    assert not any(cell[:1] in "=+-@" for cell in rows[0].values() if cell)
    file = tmp_path / "incidents.yml"
    file.write_bytes(get("past.yml").content)
    assert yaml.safe_load(file.read_text())[0]["labels"]["long"]
    (incident,) = read_incidents(file)
    assert incident.end > incident.start
    assert incident.concerns(A) is False
    assert "attachment" in get("past.csv?job=cpu").headers["content-disposition"]
    assert "1 incident" in text(page)
    assert "matches" in text(get("past?job=cpu&alerted=false"))


def test_a_label_of_any_kind_comes_to_nothing(get, watched):
    watched.minutes((EVIL, A), 60, lambda ago: [ago < 10 or 20 < ago < 30, False])
    page, past = get("/"), get("/past")
    for seen in (page, past, get(links(page, "series?")[0]), get(links(past, "series?")[0]), get("/status")):
        tags = Seen(seen.text).tags
        scripts = [attributes for tag, attributes in tags if tag == "script"]
        assert {each["src"] for each in scripts} <= {"static/ui.js", "static/curves.js"}
        assert all(each.keys() == {"src", "defer"} for each in scripts)
        assert not any(tag == "img" for tag, _ in tags)
        assert not any(name.startswith("on") or name == "style" for _, each in tags for name in each)
        assert "\u202e" not in seen.text
        assert "\x00" not in seen.text
        assert "49014001" not in seen.text
        assert len(seen.content) < 60_000
    assert "{{ 7001*7001 }}{% raw %}" in text(get("/past"))


def test_no_address_of_a_request_is_repeated_as_markup(get):
    evil = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
    for path, status in (
        (f"past?job={evil}", 200), (f"series?job={evil}", 404), (f"past?match=a%3D{evil}", 400),
        (f"past?{evil}=1", 400), (f"past?start={evil}", 400),
    ):  # fmt: skip
        assert "<script>alert" not in get(path, status).text


@pytest.mark.parametrize("path", [*PAGES, "/series?job=nope", "/series?x", "/static/ui.css", "/past.csv"])
def test_every_page_has_the_policy_once_and_asks_nobody_else(get, watched, path):
    watched.minutes((A,), 10, lambda ago: [ago < 3])
    answer = httpx.get(str(get("/").url).rstrip("/") + path, trust_env=False)
    assert answer.headers.get_list("content-security-policy") == [POLICY]
    assert "unsafe" not in POLICY
    for _, attributes in Seen(answer.text).tags if path != "/static/ui.css" else ():
        for name in ("href", "src", "action"):
            assert not re.match(r"(?i)\s*(https?:|//|javascript:|data:)", attributes.get(name) or "")


def test_without_the_pages_there_is_the_list_of_endpoints(serve, watched):
    url = serve(running=watched.running, ui=False).url
    for path in ("series?job=cpu", "past", "status", "static/ui.css", "past.csv"):
        assert httpx.get(f"{url}/{path}", trust_env=False).status_code == 404
    assert 'href="metrics"' in httpx.get(url, trust_env=False).text


def test_a_page_has_one_heading_a_language_and_a_way_past_the_navigation(get, watched):
    watched.minutes((A,), 10, lambda ago: [ago < 3])
    for path in (*PAGES, "series?job=cpu"):
        page = get(path)
        tags = [tag for tag, _ in Seen(page.text).tags]
        assert tags.count("h1") == 1
        assert '<html lang="en">' in page.text
        assert 'class="skip" href="#main"' in page.text
        for tag, attributes in Seen(page.text).tags:
            assert tag != "svg" or attributes["aria-label"]


def test_two_hundred_open_incidents_are_a_small_page(get, watched):
    keys = tuple(key(instance=f"node-{at:04}.example:9100", dc="fra1") for at in range(200))
    watched.minutes(keys, 100, lambda ago: np.full(200, ago < 40))
    assert "200 incidents" in text(get("/"))
    assert len(get("/").content) < 300_000


def falling(rows):
    """Return the evidence of a value that has fallen, by the hour of the day."""
    size, period = {"value now": -3.2, "10-minute mean": -4.13}, {"value now": 4e5, "10-minute mean": 1.84e7}
    return streams(rows, size, period, by_hour=True)


def test_the_page_of_an_incident_says_why_and_what_would_have_been_normal(get, watched):
    watched.minutes((A, B), 60, lambda ago: [ago < 10, False], evidence=falling)
    reason = "10-minute mean 4.1 standard deviations below usual; by chance once in 7 months"
    assert reason in text(get("/"))
    page = get('series?job=cpu&match=instance="a"')
    told = text(page)
    assert reason in told
    assert re.search(
        "Why ?Up to 6 B this hour would have been normal. ?evidence ?standard deviations from usual ?"
        "so much comes by chance ?10-minute mean ?4.1 below ?once in 7 months ?value now ?3.2 below ?once in 5 days",
        told,
    )
    incident = get('api/v1/series?job=cpu&match=instance="a"').json()["incident"]
    assert incident["instead"] == "up to 6 B this hour would have been normal"
    assert [(each["name"], each["size"], each["every"]) for each in incident["streams"]] == [
        ("10-minute mean", -4.13, 18_400_000.0), ("value now", -3.2, 400_000.0),
    ]  # fmt: skip
    assert incident["streams"][0]["text"] == reason


def test_what_an_incident_was_made_of_is_remembered_when_it_is_over(get, watched):
    watched.minutes((A, B), 60, lambda ago: [10 < ago < 30, False], evidence=falling)
    link = links(get("past"), "series?")[0]
    told = text(get(link))
    assert "Up to 6 B at that hour would have been normal." in told
    assert "10-minute mean 4.1 below" in told.replace("mean4", "mean 4")
    [past] = get("api/v1/incidents").json()["incidents"]
    assert [each["name"] for each in past["streams"]] == ["10-minute mean", "value now"]


def test_a_detector_without_evidence_has_no_table_of_it(get, watched):
    watched.minutes((A,), 60, lambda ago: [ago < 10])
    told = text(get('series?job=cpu&match=instance="a"'))
    assert re.search("Why ?Up to 6 B would have been normal.", told)
    assert "by chance" not in told

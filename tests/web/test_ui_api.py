"""The API that the pages are made of, asked through the real server."""

import dataclasses
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import jsonschema
import numpy as np
import pytest

from exporter.observe.health import Health
from exporter.sinks.joint_elsewhere import Heard
from exporter.source.errors import Unreachable
from exporter.web.ui.answers import Now
from exporter.web.ui.openapi import document
from exporter.web.ui.status import configuration
from tests.support.pages import STEP, Watched
from tests.support.verdicts import key, verdict

A, B = key(instance="a"), key(instance="b")


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def ask(serve, watched):
    """Ask the API: `ask("now")`, `ask("series", job="cpu")`; every answer must be as the document says."""
    url = serve(running=watched.running).url

    def get(what: str, status: int = 200, /, **parameters):
        answer = httpx.get(f"{url}/api/v1/{what}", params=parameters or None, trust_env=False, timeout=30)
        assert answer.status_code == status, answer.text
        path = document()["paths"][f"/api/v1/{what.partition('?')[0]}"]["get"]
        schema = path["responses"][str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": document()["components"]})
        return answer.json()

    return get


def follow(ask, link: str, **more):
    """Ask for what a link is about."""
    return ask("series", **{name: value for name, (value,) in parse_qs(urlsplit(link).query).items()}, **more)


def test_an_incident_says_what_is_shown_and_what_an_alert_needs(ask, watched):
    watched.minutes((A, B), 30, lambda ago: [ago < 10, False])
    answer = ask("now")
    assert (answer["open"], answer["alerting"], answer["shown"]) == (1, 1, 1)
    (group,) = answer["groups"]
    (incident,) = group["incidents"]
    assert incident["labels"] == {"instance": "a"}
    assert (incident["severity"], incident["needed"]) == (20.0, 12.0)
    assert 540 <= incident["seconds"] < 660
    assert "expected 5 B (normal: 4 B to 6 B)" in incident["now"]
    assert answer["unseen"] == []
    assert answer["quiet"]["watched"] == answer["quiet"]["series"] == 2


def test_quiet_is_told_with_what_is_watched_and_since_when(ask, watched):
    watched.minutes((A, B), 30, lambda ago: [15 < ago < 20, False])
    answer = ask("now")
    assert (answer["open"], answer["groups"]) == (0, [])
    assert answer["quiet"]["watched"] == 2
    assert answer["quiet"]["alerts"] == 1
    assert answer["quiet"]["since"] is not None


@pytest.mark.parametrize(
    ("health", "kind", "told"),
    [
        (Health(3, 2, reason="unreachable", error="nobody answers", failing_since=1e9), "failing", "nobody"),
        (Health(progress=0.4, warming=7), "warming", "40% of its history replayed: 7 series"),
        (Health(), "waiting", "first cycle"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_told(ask, watched, health, kind, told):
    watched.health["cpu"] = health
    (unseen,) = ask("now")["unseen"]
    assert (unseen["kind"], unseen["jobs"]) == (kind, ["cpu"])
    assert told in unseen["text"]
    assert ask("now")["quiet"]["watched"] == 0


def test_an_old_verdict_a_young_series_and_a_refused_configuration_are_told(ask, watched):
    watched.refused = "config.yml:3: unknown key"
    watched.show(dataclasses.replace(verdict((A, B), states={"ready": 1, "warming": 1}), time=watched.now - 20 * STEP))
    assert [each["kind"] for each in ask("now")["unseen"]] == ["configuration", "late", "series_warming"]


def test_incidents_that_share_a_rack_are_one_group_in_which_the_first_to_move_comes_first(ask, watched):
    hosts = [key(instance=f"host-{n}", rack=f"r{n % 5}") for n in range(20)]
    moved = {0: 9, 5: 10, 1: 10}  # two of rack r0, one of r1
    watched.minutes(tuple(hosts), 60, lambda ago: [ago < moved.get(n, 0) for n in range(20)])
    groups = ask("now")["groups"]
    assert sorted(len(group["incidents"]) for group in groups) == [1, 2]
    assert {group["because"] for group in groups} == {"alone", "labels"}
    (joint,) = [group["joint"] for group in groups if group["joint"]]
    assert [each["labels"]["instance"] for each in joint["movers"]] == ["host-5", "host-0"]
    assert joint["text"].startswith(
        "2 series moved together (rack=r0); instance=host-5, rack=r0 in cpu moved first, at"
    )
    series = follow(ask, joint["movers"][1]["link"])
    assert series["joint"]["id"] == joint["id"]


@pytest.mark.parametrize("replica", ["exporter-1:9877", ""])
def test_a_series_of_another_replica_has_no_link_and_it_is_told_who_judges_it(ask, serve, watched, replica):
    hosts = [key(instance=f"host-{n}", rack=f"r{n % 5}") for n in range(20)]
    watched.minutes(tuple(hosts), 60, lambda ago: [n == 0 and ago < 9 for n in range(20)])
    (alone,) = [joint.id for joint in watched.joint.open()]
    elsewhere = Heard("cpu", key(instance="host-25", rack="r0"), watched.now - 8 * STEP, alone, replica)
    watched.joint.hear([elsewhere], 2, watched.now)
    (group,) = ask("now")["groups"]
    ours, theirs = group["joint"]["movers"]
    assert (ours["judged_by"], theirs["judged_by"]) == ("", replica or "another replica")
    assert theirs["link"] == ""
    assert theirs["labels"]["instance"] == "host-25"
    url = serve(running=watched.running).url
    page = httpx.get(f"{url}/{ours['link']}", trust_env=False, timeout=30).text
    assert f"judged by {replica or 'another replica'}, which has its page" in page
    assert 'href=""' not in page


def test_a_permanent_link_shows_the_incident_while_it_is_open_and_when_it_is_over(ask, watched, tmp_path):
    watched.minutes((A, B), 120, lambda ago: [ago < 10, False])
    link = ask("now")["groups"][0]["incidents"][0]["link"]
    opened = follow(ask, link)
    assert opened["incident"]["alert"]
    assert opened["past"] is None
    assert opened["notes"] == []
    assert opened["start"] < watched.now - 600 < opened["end"]
    watched.show(dataclasses.replace(
        verdict((A, B), changed=[True, False], score=[0.3, 0.3]), time=watched.now + STEP))  # fmt: skip
    over = follow(ask, link)
    assert over["incident"] is None
    assert (over["past"]["ending"], over["past"]["alerted"]) == ("recovered", True)
    (listed,) = ask("incidents")["incidents"]
    assert listed["link"] == link == over["link"]


def test_the_link_works_after_a_restart_from_the_state_folder(serve, tmp_path):
    config = {"state": {"path": str(tmp_path)}}
    before = Watched(**config)
    before.minutes((A, B), 30, lambda ago: [5 < ago < 10, False])
    before.incidents.close(1.0)
    after = Watched(**config)
    url = serve(running=after.running).url
    (listed,) = httpx.get(f"{url}/api/v1/incidents", trust_env=False).json()["incidents"]
    shown = httpx.get(f"{url}/api/v1/{listed['link']}", trust_env=False).json()
    assert shown["past"]["ending"] == "recovered"
    assert shown["past"]["why"]
    quiet = httpx.get(f"{url}/api/v1/now", trust_env=False).json()["quiet"]
    assert (quiet["alerts"], quiet["since"]) == (1, listed["until"])
    assert shown["state"] == "unknown"


def test_the_link_of_a_series_with_endless_labels_is_a_digest_that_is_looked_up(ask, watched):
    long = key(instance="x" * 4096)
    watched.minutes((long,), 10, lambda ago: [ago < 5])
    link = ask("now")["groups"][0]["incidents"][0]["link"]
    assert len(link) < 200
    assert follow(ask, link)["labels"] == dict(long)


def test_what_is_not_remembered_is_asked_of_the_source_and_said_where_it_is_down(ask, watched):
    watched.minutes((A,), 10, lambda ago: [False])
    early = watched.now - 3000
    watched.source.put('node_memory_free_bytes{instance="a"}', {"__name__": "x", "instance": "a"},
                       {early + at * STEP: 7.0 for at in range(40)})  # fmt: skip
    answer = ask("series", job="cpu", match='instance="a"', range=3600)
    assert answer["curves"][0]["value"].count(7.0) >= 39
    assert "values only" in answer["notes"][0]
    watched.source.error = Unreachable("nobody answers")
    answer = ask("series", job="cpu", match='instance="a"', range=7200)
    assert "nobody answers" in answer["notes"][0]
    assert len(answer["times"]) == 10


def test_the_published_gauges_bring_the_band_back_after_a_restart(ask, watched):
    asked = {}

    def read(expr, start, end, step):
        asked["expr"] = expr
        for family in ("value", "lower", "flag"):
            labels = {"__name__": f"anomaly_{family}", "query": "cpu", "detector": "auto", "instance": "a"}
            watched.source.put(expr, labels, {start: 3.0})
        return watched.source.range(expr, start, end, step)

    watched.read = read
    answer = ask("series", job="cpu", match='instance="a"')
    assert 'query="cpu",instance="a"' in asked["expr"]
    assert answer["curves"][0]["lower"][0] == answer["flag"][0] == 3.0
    assert answer["state"] == "unknown"
    assert answer["notes"] == []


@pytest.mark.parametrize(("compare", "back"), [("day", 86_400), ("week", 604_800)])
def test_the_same_time_of_another_day_is_laid_over(ask, watched, compare, back):
    watched.minutes((A,), 61, lambda ago: [False])
    then = {watched.now - back - at * STEP: float(at) for at in range(30)}
    watched.source.put('node_memory_free_bytes{instance="a"}', {"__name__": "x", "instance": "a"}, then)
    answer = ask("series", job="cpu", match='instance="a"', range=3600, compare=compare)
    (curve,) = answer["curves"]
    before = dict(zip(answer["times"], curve["before"], strict=True))
    assert [before[watched.now - at * STEP] for at in range(40)] == [*map(float, range(30)), *[None] * 10]
    assert answer["notes"] == []
    watched.source.error = Unreachable("nobody answers")
    answer = ask("series", job="cpu", match='instance="a"', range=3000, compare=compare)
    assert "nobody answers" in answer["notes"][0]
    assert len(answer["curves"][0]["value"]) == 51


def test_yesterday_and_last_week_are_laid_over_together(serve, ask, watched):
    watched.minutes((A,), 61, lambda ago: [False])
    then = {watched.now - 86_400 - at * STEP: 7.0 for at in range(60)}
    then |= {watched.now - 604_800 - at * STEP: 8.0 for at in range(60)}
    watched.source.put('node_memory_free_bytes{instance="a"}', {"__name__": "x", "instance": "a"}, then)
    asked = {"job": "cpu", "match": 'instance="a"', "range": 3600}
    answer = ask("series", **asked, compare="day,week", told="true")
    (curve,) = answer["curves"]
    assert (curve["before"][-1], curve["week_before"][-1]) == (7.0, 8.0)
    assert answer["told"][-1].count(", then 7 B, a week earlier 8 B") == 1
    page = httpx.get(
        f"{serve(running=watched.running).url}/series", params=asked | {"compare": "day,week"}, trust_env=False
    )
    assert page.text.count('class="week-before"') == 1
    assert "value a week earlier" in page.text
    links = re.findall(r'href="([^"]*)"( aria-current="true")?>over (yesterday|last week)<', page.text)
    assert [(link.partition("compare=")[2], bool(on)) for link, on, _ in links] == [("week", True), ("day", True)]


@pytest.mark.parametrize(
    ("what", "parameters", "status", "told"),
    [
        ("now", {"x": "1"}, 400, "unknown parameter; there are none here"),
        ("series", {}, 400, "job is missing"),
        ("series", {"job": "nope"}, 404, "/api/v1/jobs"),
        ("series", {"job": "cpu", "match": "instance=~"}, 400, "must be labels"),
        ("series", {"job": "cpu", "compare": "month"}, 400, "compare must be day, week or day,week"),
        ("series", {"job": "cpu", "id": "zz"}, 400, "16 hexadecimal"),
        ("series", {"job": "cpu", "id": "0" * 16}, 404, "digest"),
        ("series", {"job": "cpu", "range": "1e9"}, 400, "range must be a number"),
        ("series", {"job": "cpu", "range": "99999999"}, 400, "range must be a number"),
        ("series", {"job": "cpu", "match": 'instance!="a"'}, 404, "no series that matches"),
        ("incidents", {"alerted": "maybe"}, 400, "alerted must be"),
        ("incidents", {"start": "yesterday"}, 400, "start must be"),
        ("incidents", {"limit": "0"}, 400, "limit must be"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(ask, what, parameters, status, told):
    answer = ask(what, status, **parameters)
    assert told in answer["error"]
    for value in parameters.values():
        assert len(value) < 4 or value not in answer["error"]


def test_several_series_that_match_are_a_choice(ask, watched):
    watched.minutes((A, B), 3, lambda ago: [False, False])
    answer = ask("series", 300, job="cpu")
    assert [follow(ask, each["link"])["labels"] for each in answer["choices"]] == [dict(A), dict(B)]


def test_past_incidents_are_filtered_and_paged(ask, watched):
    watched.minutes((A, B), 60, lambda ago: [40 < ago < 50, 20 < ago < 30])
    assert [each["labels"]["instance"] for each in ask("incidents")["incidents"]] == ["b", "a"]
    assert ask("incidents", match='instance="a"')["total"] == 1
    assert ask("incidents", match='instance!="a"', job="cpu", alerted="true")["total"] == 1
    assert ask("incidents", alerted="false")["total"] == 0
    assert ask("incidents", job="other")["total"] == 0
    assert [each["labels"]["instance"] for each in ask("incidents", start=watched.now - 35 * STEP)["incidents"]] == [
        "b"
    ]
    assert ask("incidents", end="2001-01-01T00:00")["total"] == 0
    page = ask("incidents", limit=1)
    assert (page["total"], page["next"]) == (2, 1)
    assert ask("incidents", limit=1, offset=1)["next"] is None


def test_the_status_shows_the_configuration_without_secrets(serve):
    watched = Watched(web={"users": {"me": {"env": "HASH"}}})
    answer = httpx.get(f"{serve(running=watched.running).url}/api/v1/status", trust_env=False).json()
    assert "HASH" in answer["config"]
    assert answer["versions"]["numpy"] == np.__version__
    hook = "https://hooks.slack.com/services/T0/B0/verysecret"
    assert "verysecret" not in configuration({"notify": {"slack": hook}, "x": [{"password": "verysecret"}]})


def test_without_the_pages_there_are_only_the_endpoints_of_machines(serve, watched):
    url = serve(running=watched.running, ui=False).url
    for path in ("now", "jobs", "series", "incidents", "status", "openapi.json"):
        assert httpx.get(f"{url}/api/v1/{path}", trust_env=False).status_code == 404
    assert httpx.get(f"{url}/api/v1/anomalies", trust_env=False).status_code == 200


def test_the_document_describes_every_path_and_is_served(serve, watched):
    served = httpx.get(f"{serve(running=watched.running).url}/api/v1/openapi.json", trust_env=False).json()
    assert served == document()
    text = str(served)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in served["components"]["schemas"]
    assert Now.__name__ in served["components"]["schemas"]


def test_every_answer_has_a_policy_once(serve, watched):
    url = serve(running=watched.running).url
    for path in ("", "metrics", "api/v1/now", "nothing", "-/healthy"):
        answer = httpx.get(f"{url}/{path}", trust_env=False)
        assert len(answer.headers.get_list("content-security-policy")) == 1
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")

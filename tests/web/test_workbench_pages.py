"""The workbench's pages and API: who may use them, and that nothing of what they show or get can do anything."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import jsonschema
import pytest
from starlette.requests import Request

from exporter.config.sections.service import WebConfig
from exporter.web.same_origin import token_of
from exporter.web.ui.openapi import document
from exporter.web.ui.turns import Busy
from tests.support.pages import Watched
from tests.support.workbench import FakeBench

TOKEN = token_of(Request({"type": "http"}))  # of whoever is not logged in


@pytest.fixture
def bench():
    return FakeBench()


@pytest.fixture
def client(serve, bench):
    watched = Watched()
    watched.bench = bench
    with httpx.Client(base_url=serve(running=watched.running).url, trust_env=False, timeout=30) as client:
        yield client


def form(**fields):
    return {"token": TOKEN, "expr": "up", **fields}


@pytest.mark.parametrize(
    ("config", "on"),
    [
        ({}, False),
        ({"workbench": True}, True),
        ({"workbench": True, "ui": False}, False),
        ({"users": {"me": {"env": "HASH"}}}, True),
        ({"users": {"me": {"env": "HASH"}}, "workbench": False}, False),
    ],
)
def test_the_workbench_is_a_right_of_its_own(config, on):
    assert WebConfig.model_validate(config).offers_workbench is on


def test_where_it_is_off_every_door_says_how_to_open_it(serve):
    url = serve(running=Watched().running).url
    for method, path in (("GET", "workbench"), ("POST", "workbench"), ("GET", "api/v1/preview/metrics"),
                         ("POST", "api/v1/preview")):  # fmt: skip
        answer = httpx.request(
            method, f"{url}/{path}", trust_env=False,
            **({} if method == "GET" else {"json": {"expr": "up"}} if "api" in path else {"data": form()}),
        )  # fmt: skip
        assert answer.status_code == 403
        assert "web.workbench" in answer.text


def test_a_form_begins_a_replay_and_leads_to_its_page(client, bench):
    answer = client.post("/workbench", data=form(step="5m", range="7d", budget="2"))
    assert answer.status_code == 303
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (asked["preview"], asked["expr"], asked["budget"]) == (["abc"], ["up"], ["2"])
    (question,) = bench.asked
    assert (question.expr, question.step, question.seconds, question.choice.budget) == ("up", 300.0, 604800.0, 2.0)
    page = client.get("/" + answer.headers["location"]).text
    assert "1 alert and 0 other incidents in 1 series" in page
    assert re.search(r"<option selected>5m", page)
    assert "<noscript><meta" not in page  # it is done


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({}, {"token": "wrong"}, 403),
        ({}, {"token": ""}, 403),
        ({"Origin": "https://evil.example"}, {}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({"Sec-Fetch-Site": "same-site"}, {}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, {}, 303),
    ],
)
def test_a_form_of_another_site_costs_no_query(client, bench, headers, fields, status):
    assert client.post("/workbench", data=form(**fields), headers=headers).status_code == status
    assert len(bench.asked) == (status == 303)


def test_a_program_may_ask_and_a_form_of_another_site_cannot_look_like_one(client, bench):
    answer = client.post("/api/v1/preview", json={"expr": "up", "budget": 3})
    assert (answer.status_code, answer.json()) == (202, {"id": "abc"})
    text = json.dumps({"expr": "up"})
    assert client.post("/api/v1/preview", content=text, headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/api/v1/preview", json={"expr": "up"}, headers={"Origin": "http://evil"}).status_code == 403
    assert client.delete("/api/v1/preview?id=abc", headers={"Origin": "http://evil"}).status_code == 403
    assert client.delete("/api/v1/preview?id=abc").status_code == 204
    assert (len(bench.asked), bench.ended) == (1, ["abc"])


@pytest.mark.parametrize(
    "body",
    ["[]", "nonsense", '{"expr": ""}', '{"expr": 5, "step": []}', '{"expr": "up", "budget": NaN}', '{"other": 1}',
     '{"expr": "up", "direction": ["above"]}', '{"expr": "up", "range": "1y"}', "[" * 50_000],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_a_sentence(client, bench, body):
    answer = client.post("/api/v1/preview", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")
    assert not bench.asked


def test_a_body_that_is_too_long_is_not_read(client):
    assert client.post("/api/v1/preview", json={"expr": "x" * 100_000}).status_code == 413
    assert client.post("/workbench", data=form(expr="x" * 100_000)).status_code == 413


def test_what_is_wrong_stands_above_the_form_that_was_sent(client, bench):
    bench.refusal = "the new job:3: jobs.new.expr: <script>"
    answer = client.post("/workbench", data=form(expr='up{a="<"}'))
    assert answer.status_code == 409
    assert "jobs.new.expr: &lt;script&gt;" in answer.text
    assert "up{a=&#34;&lt;&#34;}" in answer.text
    assert client.post("/workbench", data=form(expr=" ")).status_code == 400


def test_nothing_that_is_shown_can_do_anything(client):
    for path in ("/workbench?preview=abc&expr=%3Cscript%3E&name=%22%3E%3Cimg+src%3Dx%3E", "/workbench?preview=past",
                 "/workbench-part?preview=abc"):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        assert "\u202e" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_replay_that_is_gone_says_so(client):
    assert client.get("/workbench?preview=other").status_code == 404
    assert "Start it again" in client.get("/workbench-part?preview=other").text
    assert client.get("/api/v1/preview?id=other").status_code == 404


def test_who_comes_while_too_many_wait_is_told_when_to_come_again(client, bench, monkeypatch):
    def busy(*_):
        raise Busy

    monkeypatch.setattr(bench, "answer", busy)
    for path in ("/workbench?preview=abc", "/api/v1/preview?id=abc"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_jobs_of_the_configuration_are_looked_back_at(client, bench):
    page = client.get("/workbench").text
    assert 'name="job:cpu"' in page
    answer = client.post("/workbench-past", data={"token": TOKEN, "job:cpu": "1", "range": "7d"})
    assert answer.headers["location"] == "workbench?preview=past"
    assert bench.asked == [(["cpu"], 604800.0)]
    assert "&lt;i&gt;cut" in client.get("/workbench?preview=past").text


@pytest.mark.parametrize("path", ["/api/v1/preview?id=abc&budget=3&row=0", "/api/v1/preview/metrics?part=u"])
def test_answers_are_as_the_document_says(client, path):
    answer = client.get(path)
    schema = document()["paths"][path.partition("?")[0]]["get"]["responses"]["200"]["content"]["application/json"]
    jsonschema.validate(answer.json(), {**schema["schema"], "components": document()["components"]})


def test_a_job_of_several_channels_is_tried_with_all_of_them_and_its_other_settings(serve, bench):
    watched = Watched(jobs={"api": {"channels": {"p99": "latency", "rps": "requests"}, "direction": "above"}})
    watched.bench = bench
    with httpx.Client(base_url=serve(running=watched.running).url, trust_env=False) as client:
        page = client.get("/workbench?job=api")
        assert 'name="channel:p99" id="expr" value="latency"' in page.text
        assert 'name="channel:rps" id="expr2" value="requests"' in page.text
        assert 'name="channel:&lt;b&gt;"' in client.get("/workbench?channel:%3Cb%3E=x").text
        fields = {"token": TOKEN, "job": "api", "name": "api", "channel:p99": "latency * 2", "channel:rps": "requests"}
        answer = client.post("/workbench", data=fields)
        (question,) = bench.asked
        assert (question.channels, question.expr, question.job) == (
            {"p99": "latency * 2", "rps": "requests"}, "", "api",
        )  # fmt: skip
        shown = client.get("/" + answer.headers["location"]).text
        assert shown.count('value="latency * 2"') == 2  # in the form, and kept for moves
        assert client.post("/workbench", data=fields | {"channel:p99": ""}).status_code == 303
        wrong = client.post("/api/v1/preview", json={"channels": {"p99": " "}})
        assert (wrong.status_code, "for each channel" in wrong.text) == (400, True)
        for channels in ([], {"": "x"}, {"a": 5}, {str(at): "x" for at in range(17)}):
            assert client.post("/api/v1/preview", json={"channels": channels}).status_code == 400
        assert client.post("/api/v1/preview", json={"channels": {"a": "up"}, "job": "api"}).status_code == 202

"""The tools for language models, asked by the official client: over HTTP and over standard input and output."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import bcrypt
import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from exporter.config.sections.root import Config
from exporter.preview.workbench import Workbench
from exporter.source.prometheus import Prometheus
from exporter.web.mcp.texts import MOST
from tests.support.pages import Watched
from tests.support.verdicts import key
from tests.support.workbench import FakeBench, load_lines

A, B = key(instance="a"), key(instance="b")
Talk = Callable[[Client], Awaitable[Any]]


@pytest.fixture
def watched(tmp_path) -> Watched:
    watched = Watched(jobs={"cpu": {"expr": "node_memory_free_bytes"}}, state={"path": str(tmp_path / "state")})
    watched.minutes((A, B), 60, lambda ago: [ago < 10, ago < 9])
    return watched


def users(tmp_path) -> dict[str, Any]:
    secret = tmp_path / "hash"
    secret.write_text(bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode())
    return {"eva": {"file": str(secret)}}


def over_http(url: str, talk: Talk, auth: tuple[str, str] | None = None) -> Any:
    async def run() -> Any:
        async with (
            httpx2.AsyncClient(auth=auth, trust_env=False, timeout=httpx2.Timeout(30, read=300)) as http,  # as theirs
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            return await talk(client)

    return asyncio.run(run())


async def call(client: Client, name: str, /, **given: Any) -> str:
    result = await client.call_tool(name, given)
    (content,) = result.content
    assert len(content.text) <= MOST
    return ("refused: " if result.is_error else "") + content.text


def test_a_model_finds_what_is_wrong_explains_it_and_answers_it(serve, watched, tmp_path):
    server = serve(running=watched.running, users=users(tmp_path))

    async def talk(client: Client) -> None:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {
            "whats_wrong", "explain_incident", "what_else_moved", "series_around", "past_incidents", "answer_incident",
            "take_back_answer", "preview_job",
        }  # fmt: skip
        wrong = await call(client, "whats_wrong")
        assert "2 open incidents, 2 of them alerts" in wrong
        first, second = re.findall(r"ALERT (\S+): cpu instance=", wrong)
        explained = await call(client, "explain_incident", incident=first)
        assert "expected 5 B (normal: 4 B to 6 B)" in explained
        assert second in await call(client, "what_else_moved", incident=first)
        samples = await call(client, "series_around", incident=first, minutes=20)
        assert samples.count(" ALERT") == 10
        answered = await call(client, "answer_incident", incident=first, kind="expected", why="a backup", who="max")
        (answer,) = re.findall(r"Answer (\w{12}) of eva, in force: expected: this once", answered)
        assert answer in await call(client, "explain_incident", incident=first)
        assert "eva has answered" in await call(client, "answer_incident", incident=first, kind="incident", why="x")
        assert "taken back by eva" in await call(client, "take_back_answer", answer=answer)

    over_http(server.url, talk, ("eva", "secret"))
    (kept,) = watched.running.feedback.every()
    assert (kept.who, kept.undone.who) == ("eva", "eva")


def test_the_numbers_are_those_of_the_api(serve, watched):
    server = serve(running=watched.running)
    (series,) = [httpx.get(f"{server.url}/api/v1/series", params={"job": "cpu", "match": 'instance="a"', "range": 1200},
                           trust_env=False).json()]  # fmt: skip

    async def talk(client: Client) -> str:
        return await call(client, "series_around", incident=f"cpu/{series['id']}", minutes=20)

    told = over_http(server.url, talk)
    rows = [line for line in told.splitlines() if re.match(r"\d\d:\d\d \|", line)][::-1]
    assert len(rows) == len(series["times"])
    for row, time, value, score in zip(
        rows, series["times"], series["curves"][0]["value"], series["scores"], strict=True
    ):
        assert row == f"{datetime.utcfromtimestamp(time):%H:%M} | {value:.7g} [4..6] | {score:.7g}" + " ALERT" * (
            score > 1
        )


def test_no_login_no_tool_and_no_right_no_answer(serve, watched, tmp_path):
    locked = serve(running=watched.running, users=users(tmp_path))
    assert httpx.post(f"{locked.url}/mcp", json={}, trust_env=False).status_code == 401
    for server in (
        serve(running=watched.running),
        serve(running=watched.running, users=users(tmp_path), actions=False),
    ):

        async def talk(client: Client) -> None:
            (first, _) = re.findall(r"ALERT (\S+): cpu instance=", await call(client, "whats_wrong"))
            refused = await call(client, "answer_incident", incident=first, kind="expected", why="x")
            assert refused.startswith("refused: Answers are off.")
            assert (await call(client, "take_back_answer", answer="0" * 12)).startswith("refused: Answers are off.")

        over_http(server.url, talk, ("eva", "secret"))
    assert not watched.running.feedback.every()


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "same-origin"}])
def test_no_browser_reaches_the_tools(serve, watched, headers):
    answer = httpx.post(f"{serve(running=watched.running).url}/mcp", json={}, headers=headers, trust_env=False)
    assert answer.status_code == 403


def test_what_cannot_be_answered_says_so(serve, watched):
    async def talk(client: Client) -> None:
        for name, given, told in (
            ("explain_incident", {}, "incident must be given"),
            ("explain_incident", {"incident": "nonsense"}, "names no incident"),
            ("explain_incident", {"incident": f"cpu/{'0' * 16}"}, "no series with this digest"),
            ("explain_incident", {"incident": f"gone/{'0' * 16}"}, "no job of that name"),
            ("series_around", {"incident": f"cpu/{'0' * 16}", "at": "soon"}, "at must be a time"),
            ("series_around", {"incident": f"cpu/{'0' * 16}", "minutes": "x"}, "minutes must be a number"),
            ("past_incidents", {"nonsense": "x"}, "unknown argument"),
            ("nonsense", {}, "no such tool"),
            ("take_back_answer", {"answer": "../status"}, "12 letters and digits"),
        ):
            refused = await call(client, name, **given)
            assert refused.startswith("refused: ")
            assert told in refused

    over_http(serve(running=watched.running, actions=True).url, talk)


def test_hundreds_of_incidents_with_long_labels_stay_short_and_are_counted(serve, tmp_path):
    watched = Watched(jobs={"cpu": {"expr": "x"}})
    keys = tuple(key(instance=f"node-{at:03}", evil="\u202e<script>" + "z" * 3000) for at in range(200))
    watched.minutes(keys, 30, lambda ago: ago < 10)

    async def talk(client: Client) -> None:
        told = await call(client, "whats_wrong")
        assert "200 open incidents" in told
        assert re.search(r"\(\d+ more lines not shown\)$", told)
        assert "\u202e" not in told
        (first, *_) = re.findall(r"ALERT (\S+): cpu ", told)
        for name in ("explain_incident", "what_else_moved", "series_around"):
            assert not (await call(client, name, incident=first)).startswith("refused")
        await call(client, "past_incidents")

    over_http(serve(running=watched.running).url, talk)


def test_the_same_over_standard_input_and_output(serve, watched, tmp_path):
    known = users(tmp_path)
    server = serve(running=watched.running, users=known)
    file = tmp_path / "anomaly.yml"
    web = {"listen": server.url.removeprefix("http://"), "users": known}
    file.write_text(json.dumps({"jobs": {"cpu": {"expr": "x"}}, "web": web}))
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "exporter", "mcp", "--config", str(file)],
        env={"ANOMALY_EXPORTER_PASSWORD": "secret"},
    )  # fmt: skip

    async def talk() -> None:
        async with Client(command) as client:
            wrong = await call(client, "whats_wrong")
            (first, _) = re.findall(r"ALERT (\S+): cpu instance=", wrong)
            assert "of eva" in await call(client, "answer_incident", incident=first, kind="incident", why="a fault")
            server.stop()
            assert "cannot be reached" in await call(client, "whats_wrong")

    asyncio.run(talk())
    assert watched.running.feedback.every()[0].who == "eva"


def test_a_job_is_tried_by_the_right_to_the_workbench_and_moved_without_another_replay(serve, watched, monkeypatch):
    monkeypatch.setattr("exporter.web.mcp.tools._PAUSE", 0.0)
    bench = watched.bench = FakeBench()
    states = iter(["reading", "first look", "exact"])
    bench.state = lambda: next(states, "exact")

    async def talk(client: Client) -> None:
        told = await call(client, "preview_job", expr="up", budget=5)
        assert told.startswith("Exact: 1 alerts and 0 other incidents in 1 series")
        assert "check-config: good" in told
        assert "<script>" in told  # text for a model, no page
        assert "\u202e" not in told
        moved = await call(client, "preview_job", preview="abc", least_deviation=2.5)
        assert "direction both, least_deviation 2.5, budget 1;" in moved
        assert "cpu: 1 alerts, 1 incidents in 2 series. <i>cut</i>" in await call(client, "preview_job", jobs="cpu")
        for given, why in (
            ({}, "Give expr"), ({"preview": "gone"}, "Start it again"), ({"expr": " "}, "write a PromQL expression"),
            ({"expr": "up", "range": "1y"}, "range must be"), ({"expr": "up", "direction": "up"}, "direction must be"),
        ):  # fmt: skip
            refused = await call(client, "preview_job", **given)
            assert refused.startswith("refused: ")
            assert why in refused

    over_http(serve(running=watched.running).url, talk)
    assert [type(each).__name__ for each in bench.asked] == ["Question", "tuple"]
    assert bench.asked[0].choice.budget == 5
    watched.bench = None

    async def without(client: Client) -> None:
        assert "web.workbench" in await call(client, "preview_job", expr="up")

    over_http(serve(running=watched.running).url, without)


def test_a_job_is_tried_on_a_real_prometheus(serve, watched, prometheus):
    source = prometheus(history=load_lines())
    settings = Config.model_validate({"prometheus": {"url": source.url}, "jobs": {"cpu": {"expr": "up"}}})
    bench = Workbench(lambda: settings, lambda: Prometheus(settings.prometheus, settings.limits))
    watched.bench = bench

    async def talk(client: Client) -> None:
        told = await call(client, "preview_job", expr="load", name="tried", range="10h", budget=500)
        assert re.match(r"Exact: \d+ alerts and \d+ other incidents in 2 series", told), told
        assert 'ALERT tried instance="a"' in told
        assert "    expr: load" in told
        wrong = await call(client, "preview_job", expr="nosuch(load)")
        assert "nosuch" in wrong

    try:
        over_http(serve(running=watched.running).url, talk)
    finally:
        bench.close()

"""The JSON feed, asked through the real server."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.secrets import Secret
from exporter.sinks import latest
from exporter.sinks.latest import LatestVerdicts, Matcher
from exporter.sinks.metrics_page import Page
from exporter.web.api import BadParameter, selection
from exporter.web.server import Server
from tests.pipeline.test_cycle import Bench
from tests.support.runners import runner_of
from tests.support.verdicts import key, verdict
from tests.support.waiting import PATIENCE

N = np.nan
NAMES = tuple(key(instance=name, job=job) for name, job in (("a", "node"), ("b", "node"), ("c", "db"), ("d", "db")))
Ask = Callable[..., Any]


@pytest.fixture
def ask(serve: Callable[..., Server], feed: LatestVerdicts) -> Iterator[Ask]:
    """Ask the feed: `ask(limit=3)`, or `ask("limit=3&limit=4")`, for its JSON."""
    server = serve()

    def get(query: str = "", /, status: int = 200, **parameters: Any) -> Any:
        address = f"{server.url}/api/v1/anomalies"
        answer = client.get(f"{address}?{query}" if query else address, params=parameters or None)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    with httpx.Client(trust_env=False, timeout=30) as client:
        yield get


def filled(feed: LatestVerdicts) -> None:
    """Fill the feed: c alerts, b is flagged, d is merely unusual, a has no verdict; of job api there is none yet."""
    feed.expect({"cpu": {"value": "rate(x[5m])"}, "api": {"p99": "q", "rps": "r"}})
    feed.publish(
        verdict(
            NAMES,
            score=[N, 3.0, 2.0, 0.9],
            flag=[False, True, True, False],
            alert=[False, False, True, False],
            since=[N, 60.0, 120.5, N],
            states={"ready": 3, "warming": 1},
        )
    )


def shown(answer: Any) -> str:
    return "".join(each["labels"]["instance"] for each in answer["anomalies"])


def test_an_entity_reads_exactly_like_this(feed: LatestVerdicts, ask: Ask) -> None:
    feed.expect({"api": {"p99": "q{}", "rps": "r"}})
    feed.publish(
        verdict(
            (key(svc="shop"),), job="api", detector="auto", channels=("p99", "rps"), score=[7.5], flag=[True],
            alert=[True], flapping=[True], severity=[12.5], since=[1767607200.25], values=[[4.2, N]],
            expected=[[0.3, N]], lower=[[-np.inf, 1.0]], upper=[[0.5, np.inf]], contribution=[[0.8, 0.2]],
        )
    )  # fmt: skip
    answer = ask()
    assert answer == {
        "generation": 2,
        "total": 1,
        "offset": 0,
        "next": None,
        "jobs": {
            "api": {
                "judged": "1970-01-01T00:00:00.000Z",
                "entities": 1,
                "flagged": 1,
                "alerting": 1,
                "states": {"ready": 1},
            }
        },
        "anomalies": [
            {
                "query": "api",
                "detector": "auto",
                "labels": {"svc": "shop"},
                "state": "ready",
                "score": 7.5,
                "flag": True,
                "alert": True,
                "flapping": True,
                "severity": 12.5,
                "since": "2026-01-05T10:00:00.250Z",
                "judged": "1970-01-01T00:00:00.000Z",
                "channels": [
                    {
                        "channel": "p99", "expr": "q{}", "observed": 4.2, "expected": 0.3,
                        "lower": None, "upper": 0.5, "contribution": 0.8,
                    },
                    {
                        "channel": "rps", "expr": "r", "observed": None, "expected": None,
                        "lower": 1.0, "upper": None, "contribution": 0.2,
                    },
                ],
            }
        ],
    }  # fmt: skip


def test_the_worst_come_first_and_those_without_a_verdict_last(feed: LatestVerdicts, ask: Ask) -> None:
    filled(feed)
    assert shown(ask()) == "cbda"


def test_no_verdict_is_null_and_never_zero(feed: LatestVerdicts, ask: Ask) -> None:
    filled(feed)
    last = ask()["anomalies"][-1]
    assert (last["score"], last["severity"], last["since"], last["state"]) == (None, None, None, "warming")
    feed.publish(verdict(NAMES[:1], score=[N], values=[[N]]))
    assert ask()["anomalies"][0]["state"] == "stale"
    assert ask()["jobs"]["api"] is None, "a job without a verdict is listed, so that nobody takes it for healthy"


def test_a_withdrawn_job_is_null_too(feed: LatestVerdicts, ask: Ask) -> None:
    filled(feed)
    feed.withdraw("cpu")
    answer = ask()
    assert (answer["jobs"], answer["anomalies"], answer["total"]) == ({"cpu": None, "api": None}, [], 0)


def test_what_leaves_the_page_leaves_the_feed(feed: LatestVerdicts, ask: Ask) -> None:
    """Row 46: a runner whose cycles fail, or that a reload retires."""
    bench = Bench()
    bench.put("a", range(100))
    feed.expect({"job": {"value": "q"}})
    runner = runner_of(bench, latest=feed)
    runner.cycle(50 * 60.0)
    assert ask()["jobs"]["job"]["entities"] == 1
    assert not runner.withdraw_old()
    runner._succeeded -= 301
    assert runner.withdraw_old()
    assert ask()["jobs"] == {"job": None}
    runner.cycle(51 * 60.0)
    assert ask()["jobs"]["job"]["entities"] == 1
    runner.retire()
    assert ask()["jobs"] == {"job": None}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("flag=true", "cb"),
        ("flag=false", "da"),
        ("alert=1", "c"),
        ("alert=0&flag=true", "b"),
        ("job=cpu", "cbda"),
        ("job=api", ""),
        ("job=api&job=cpu&job=cpu", "cbda"),
        ('match=job="node"', "ba"),
        ('match={job="node",instance!="a"}', "b"),
        ('match=job="node"&match=instance="a"', "a"),
        ('match=instance="nobody"', ""),
        ('match=nolabel=""', "cbda"),
        ('match=nolabel!=""', ""),
        ('match=instance!=""', "cbda"),
        ('match=job="db"&flag=true&limit=1', "c"),
    ],
)
def test_it_shows_what_is_asked_for(feed: LatestVerdicts, ask: Ask, query: str, found: str) -> None:
    filled(feed)
    assert shown(ask(query)) == found


def test_labels_are_matched_whatever_they_hold(feed: LatestVerdicts, ask: Ask) -> None:
    values = ('a"b', "a\\b", "a\nb", "a,b", "}", "é")
    feed.expect({"cpu": {}})
    feed.publish(verdict(tuple(key(instance=value) for value in values)))
    for value in values:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        assert [each["labels"]["instance"] for each in ask(match=f'{{ instance = "{escaped}" }}')["anomalies"]] == [
            value
        ]


def test_half_a_surrogate_pair_in_a_label_is_no_obstacle(feed: LatestVerdicts, ask: Ask) -> None:
    """Row 14."""
    feed.expect({"cpu": {}})
    feed.publish(verdict((key(instance="\ud800"),)))
    assert ask()["anomalies"][0]["labels"] == {"instance": "\ud800"}


def test_pages_follow_each_other_and_lose_nothing(feed: LatestVerdicts, ask: Ask) -> None:
    feed.expect({"one": {}, "two": {}})
    for job, count in (("one", 150), ("two", 137)):
        score = np.random.default_rng(1).integers(0, 5, count).astype(float)  # many are equal
        feed.publish(verdict(tuple(key(instance=f"{job}{n}") for n in range(count)), job=job, score=score))
    whole = ask(limit=1000)["anomalies"]
    assert len(whole) == 287
    assert [each["score"] for each in whole] == sorted((each["score"] for each in whole), reverse=True)
    pieces, offset = [], 0
    while offset is not None:
        answer = ask(limit=40, offset=offset)
        pieces += answer["anomalies"]
        offset = answer["next"]
        assert answer["total"] == 287
    assert pieces == whole
    assert ask(offset=287)["anomalies"] == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit must be a whole number from 1 to 1000."),
        ("limit=1001", "limit must be a whole number from 1 to 1000."),
        ("limit=ten", "limit must be a whole number from 1 to 1000."),
        ("limit=", "limit must be a whole number from 1 to 1000."),
        ("limit=5&limit=5", "limit is given more than once."),
        ("offset=-1", "offset must be a whole number from 0 to 1000000000."),
        ("offset=1e3", "offset must be a whole number from 0 to 1000000000."),
        ("flag=maybe", "flag must be true or false."),
        ("alert=", "alert must be true or false."),
        ("job=<script>", "there is no job of that name; the answer without job lists them under jobs."),
        ("jobs=cpu", "there is an unknown parameter; known are job, match, flag, alert, limit and offset."),
        ("match=", 'match must be labels such as instance="a",job!="b".'),
        ("match=instance", 'match must be labels such as instance="a",job!="b".'),
        ('match=instance="a', 'match must be labels such as instance="a",job!="b".'),
        ('match=instance="a" b="c"', 'match must be labels such as instance="a",job!="b".'),
        ('match=instance="a",', 'match must be labels such as instance="a",job!="b".'),
        (
            'match=instance=~"(a*)*b"',
            'match must be labels such as instance="a",job!="b"; regular expressions are not served, one could keep us'
            " busy for ever.",
        ),
        ("&".join(["match=a=%22%22"] * 21), "match may name 20 labels at most."),
    ],
)
def test_a_bad_parameter_is_answered_with_one_clear_sentence(
    feed: LatestVerdicts, ask: Ask, query: str, sentence: str
) -> None:
    """Rows 19 and 35."""
    filled(feed)
    assert ask(query, status=400) == {"error": sentence}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["job", "match", "flag", "alert", "limit", "offset", "x"]), st.text())))
def test_no_parameter_breaks_the_reading(parameters: list[tuple[str, str]]) -> None:
    """Row 35."""
    try:
        found = selection(parameters)
    except BadParameter:
        return
    assert 1 <= found.limit <= 1000


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.booleans())
def test_every_value_can_be_written_as_a_matcher(value: str, equal: bool) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    text = f'a{"=" if equal else "!="}"{escaped}"'
    assert selection([("match", text)]).labels == (Matcher("a", value, equal),)


def test_what_has_not_changed_is_not_sent_again(feed: LatestVerdicts, serve: Callable[..., Server]) -> None:
    filled(feed)
    address = f"{serve().url}/api/v1/anomalies"
    with httpx.Client(trust_env=False) as client:
        tag = client.get(address).headers["etag"]
        for known in (tag, f'"other", W/{tag}'):
            again = client.get(address, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        feed.publish(verdict(NAMES))
        assert client.get(address, headers={"If-None-Match": tag}).status_code == 200
    assert LatestVerdicts().tag != LatestVerdicts().tag, "another process counts anew"


def test_it_asks_for_a_login_where_the_other_pages_do(
    feed: LatestVerdicts, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    import bcrypt

    monkeypatch.setenv("HASH", bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode())
    address = f"{serve(users={'us': Secret(env='HASH')}).url}/api/v1/anomalies"
    with httpx.Client(trust_env=False) as client:
        assert client.get(address).status_code == 401
        assert client.get(address, auth=("us", "password")).status_code == 200


def test_a_hundred_thousand_series_cost_what_is_shown(
    feed: LatestVerdicts, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: neither a cycle nor a request makes an object of each entity."""
    made = []
    entity = latest.entity_json
    monkeypatch.setattr(latest, "entity_json", lambda *arguments: made.append(1) or entity(*arguments))
    names = tuple(key(instance=f"i{n}", rack=f"r{n % 40}") for n in range(100_000))
    feed.expect({"cpu": {}})
    score = np.random.default_rng(0).random(100_000)
    for _ in range(3):
        feed.publish(verdict(names, score=score))
    assert not made
    assert ask(limit=5)["total"] == 100_000
    assert ask('match=rack="r7"&limit=5')["total"] == 2_500
    assert len(made) == 10


def test_scrapes_go_on_while_large_answers_are_made(
    feed: LatestVerdicts, page: Page, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 36: many at once take turns, next to the event loop."""
    names = tuple(key(instance=f"i{n}", rack=f"r{n % 40}") for n in range(50_000))
    feed.expect({"cpu": {}})
    feed.publish(verdict(names))
    server, begun, scraped, entity = serve(), threading.Event(), threading.Event(), latest.entity_json

    def held(*arguments: Any) -> dict[str, Any]:
        begun.set()
        assert scraped.wait(PATIENCE)
        return entity(*arguments)

    monkeypatch.setattr(latest, "entity_json", held)

    def ask_for(rack: int) -> int:
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            found = client.get(f"{server.url}/api/v1/anomalies", params={"limit": 1000, "match": f'rack="r{rack}"'})
            return len(found.json()["anomalies"])

    with ThreadPoolExecutor(12) as pool, httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        answers = [pool.submit(ask_for, rack) for rack in range(12)]
        assert begun.wait(PATIENCE)
        for _ in range(6):
            assert client.get(f"{server.url}/metrics").status_code == 200
        assert not any(answer.done() for answer in answers), "they ended before the scrapes: nothing is proved"
        scraped.set()
        assert [answer.result() for answer in answers] == [1000] * 12


def test_jobs_may_publish_and_leave_while_others_ask(feed: LatestVerdicts, ask: Ask) -> None:
    """Row 37: one answer is of one moment."""
    jobs = {f"j{n}": {} for n in range(5)}
    feed.expect(jobs)
    done = threading.Event()

    def churn() -> None:
        cycle = 0
        while not done.is_set():
            cycle += 1
            for job in jobs:
                keys = tuple(key(instance=f"{job}-{cycle}-{n}") for n in range(cycle % 7))
                feed.publish(verdict(keys, job=job, score=np.full(len(keys), float(cycle))))
            feed.withdraw("j3")
            feed.expect(jobs if cycle % 2 else {**jobs, "more": {}})

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(60):
            answer = ask(limit=1000)
            assert len(answer["anomalies"]) == answer["total"]
            assert sum(job["entities"] for job in answer["jobs"].values() if job) == answer["total"]
    finally:
        done.set()
        thread.join()

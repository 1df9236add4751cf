"""Under which names a page may change something where nobody logs in: no name that may lead elsewhere first."""

import bcrypt
import httpx
import pytest
from starlette.requests import Request

from exporter.web.same_origin import token_of
from tests.support.pages import Watched
from tests.support.verdicts import key
from tests.support.workbench import FakeBench

A = key(instance="a")
TOKEN = token_of(Request({"type": "http"}))
REFUSED, TAKEN = "nobody has to log in here", ""


@pytest.fixture
def watched(tmp_path):
    web = {"external_url": "https://anomalies.example.com/x/", "listen": "exporter.internal:9877"}
    watched = Watched(jobs={"cpu": {"expr": "up"}}, state={"path": str(tmp_path / "state")}, web=web)
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    watched.bench = FakeBench()
    return watched


def answered(url: str, host: str, auth: tuple[str, str] | None = None, **headers: str) -> httpx.Response:
    """Give an answer by the form, as a browser does from a page that it knows under `host`."""
    if auth is not None:
        page = httpx.get(f"{url}/series?job=cpu", auth=auth, trust_env=False).text
        token = page.partition('name="token" value="')[2].partition('"')[0]
    else:
        token = TOKEN
    form = {"token": token, "job": "cpu", "kind": "incident", "why": "x", "who": "eva"}
    (incident,) = httpx.get(f"{url}/api/v1/now", auth=auth, trust_env=False).json()["groups"][0]["incidents"]
    every = {"Host": host, "Origin": f"http://{host}", **headers}
    return httpx.post(f"{url}/answers", data=form | {"id": incident["id"]}, headers=every, auth=auth, trust_env=False)


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:9877", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.0.0.1:9877", True),
        ("10.20.30.40", True),
        ("[::1]:9877", True),
        ("[fe80::1%25eth0]:9877", True),
        ("exporter.internal:9877", True),
        ("anomalies.example.com", True),
        ("evil.example:9877", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("anomalies.example.com.evil.example", False),
        ("evilanomalies.example.com", False),
        ("[::1", False),
        ("1", False),
    ],
)
def test_only_names_that_are_ours_alone_may_change_something(serve, watched, host, known):
    url = serve(running=watched.running, actions=True).url
    answer = answered(url, host)
    assert (answer.status_code, REFUSED in answer.text) == ((303, False) if known else (403, True)), answer.text
    assert len(watched.running.feedback.every()) == known
    tried = httpx.post(f"{url}/workbench", data={"token": TOKEN, "expr": "up"}, trust_env=False,
                       headers={"Host": host, "Sec-Fetch-Site": "same-origin"})  # fmt: skip
    assert tried.status_code == (303 if known else 403)
    begun = httpx.post(f"{url}/api/v1/preview", json={"expr": "up"}, trust_env=False,
                       headers={"Host": host, "Origin": f"http://{host}"})  # fmt: skip
    assert begun.status_code == (202 if known else 403)


def test_a_form_without_any_word_of_its_origin_is_refused_under_a_foreign_name_too(serve, watched):
    url = serve(running=watched.running, actions=True).url
    form = {"token": TOKEN, "expr": "up"}
    answer = httpx.post(f"{url}/workbench", data=form, headers={"Host": "evil.example"}, trust_env=False)
    assert (answer.status_code, REFUSED in answer.text) == (403, True)


def test_a_program_may_use_any_name(serve, watched):
    url = serve(running=watched.running, actions=True).url
    new = {"kind": "incident", "job": "cpu", "labels": dict(A), "why": "x"}
    answer = httpx.post(f"{url}/api/v1/answers", json=new, headers={"Host": "anomalies.svc"}, trust_env=False)
    assert answer.status_code == 201


def test_who_logs_in_may_use_any_name(serve, watched, tmp_path):
    (tmp_path / "hash").write_text(bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode())
    url = serve(running=watched.running, users={"eva": {"file": str(tmp_path / "hash")}}).url
    assert answered(url, "anomalies.svc:9877", ("eva", "secret")).status_code == 303

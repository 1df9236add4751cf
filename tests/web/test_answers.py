"""Answers to incidents over HTTP: who may give them, what is refused and why, and that none is lost."""

import csv
import io
import json
import re
import threading
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import bcrypt
import httpx
import pytest
import yaml

from exporter.labelled_incidents import read_incidents
from exporter.sinks.feedback import FILE, read_feedback
from tests.support.pages import STEP, Watched
from tests.support.verdicts import key
from tests.web.test_ui_pages import EVIL, Seen, links, text

A, B = key(instance="a"), key(instance="b")
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


@pytest.fixture
def watched(tmp_path) -> Watched:
    return Watched(jobs={"cpu": {"expr": "node_memory_free_bytes"}}, state={"path": str(tmp_path / "state")})


@pytest.fixture
def open_port(serve, watched):
    """Return a client of an exporter where everybody may answer."""
    server = serve(running=watched.running, actions=True)
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30, follow_redirects=True) as client:
        yield client


def page_of(client: httpx.Client, at: int = 0) -> httpx.Response:
    return client.get(links(client.get("/"), "series?")[at])


def form(page: httpx.Response, **changed: str) -> dict[str, str]:
    """Return what the form on a page sends, filled in."""
    fields = {
        each["name"]: each["value"]
        for tag, each in Seen(page.text).tags
        if tag == "input" and each.get("type") == "hidden"
    }
    return {name: fields[name] for name in ("token", "job", "id", "since")} | {
        "kind": "expected", "when": "once", "margin": "20", "why": "nightly backup", "longest": "", "until": "",
    } | changed  # fmt: skip


def post(client: httpx.Client, url: str, fields: dict[str, str], **headers: str) -> httpx.Response:
    return client.post(url, data=fields, headers={"origin": str(client.base_url).rstrip("/"), **headers})


def ask(client: httpx.Client, **changed: object) -> httpx.Response:
    new = {"kind": "expected", "job": "cpu", "labels": dict(A), "why": "nightly backup", "who": "eva"} | changed
    return client.post("/api/v1/answers", json=new)


def test_the_form_of_an_incident_takes_an_answer_and_takes_it_back(open_port, watched):
    watched.minutes((A, B), 60, lambda ago: [ago < 10, False])
    page = page_of(open_port)
    assert "Answer this incident" in text(page)
    answered = post(open_port, "/answers", form(page, who="eva", when="weekly"))
    told = text(answered)
    assert re.search(
        r"expected: on \w+days around \d\d:\d\d UTC \(within 1h10m\), up to [0-9.]+ B, for 1h at most",
        told,
    )
    assert "nightly backup eva" in told
    (kept,) = watched.running.feedback.every()
    (limit,) = kept.expectation.limits
    assert (limit.low, limit.high > 9.0) == (None, True)
    listed = open_port.get("/answers")
    assert "1 answer" in text(listed)
    undo = {
        each["name"]: each["value"]
        for tag, each in Seen(listed.text).tags
        if tag == "input" and each.get("type") == "hidden"
    }
    assert "taken back by somebody without a login" in text(post(open_port, "/answers/undo", undo))
    assert watched.running.feedback.every()[0].undone is not None
    assert "took this answer back already" in text(post(open_port, "/answers/undo", undo))


def test_jobs_heed_an_answer_and_its_undoing(open_port, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    book, heard = watched.running.feedback, []
    book.heed = lambda _: heard.append(book.of("cpu"))
    given = ask(open_port).json()["answer"]
    assert open_port.delete(f"/api/v1/answers/{given['id']}").status_code == 200
    (first, second) = heard
    assert (first.expected[0].key, first.expected[0].undone) == (A, None)
    assert first.expected[0].expectation.at > time.time() - 5
    assert second.expected[0].undone is not None
    ask(open_port, kind="normal")
    assert heard[-1].accepted[0][0] == A


def test_who_may_answer_is_who_is_logged_in(serve, watched, tmp_path):
    secret = tmp_path / "hash"
    secret.write_text(HASH)
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    url = serve(running=watched.running, users={"eva": {"file": str(secret)}}).url
    assert httpx.post(f"{url}/api/v1/answers", json={}, trust_env=False).status_code == 401
    with httpx.Client(base_url=url, auth=("eva", "secret"), trust_env=False) as client:
        given = ask(client, who="somebody else")
        assert given.status_code == 201, given.text
        assert given.json()["answer"]["who"] == "eva"
    off = serve(running=watched.running, users={"eva": {"file": str(secret)}}, actions=False).url
    with httpx.Client(base_url=off, auth=("eva", "secret"), trust_env=False) as client:
        assert ask(client).status_code == 403
        assert client.delete("/api/v1/answers/0123456789ab").status_code == 403
        assert '<form method="post"' not in client.get("/answers").text


def test_without_a_login_nobody_answers_unless_the_configuration_says_so(serve, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    with httpx.Client(base_url=serve(running=watched.running).url, trust_env=False) as client:
        refused = ask(client)
        assert refused.status_code == 403
        assert "web.actions: true" in refused.json()["error"]
        page = page_of(client)
        assert "Answers are off" in text(page)
        assert '<form method="post"' not in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"},
    ],
)  # fmt: skip
def test_no_other_page_can_answer_in_the_name_of_its_visitor(open_port, watched, headers):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    fields = form(page_of(open_port))
    assert "Another page sent this" in text(post(open_port, "/answers", fields, **headers))
    token = {"x-anomaly-token": fields["token"]}
    new = {"kind": "incident", "job": "cpu", "labels": dict(A), "why": "x"}
    assert open_port.post("/api/v1/answers", json=new, headers=headers | token).status_code == 403
    assert open_port.delete("/api/v1/answers/0123456789ab", headers=headers | token).status_code == 403
    assert not watched.running.feedback.every()


def test_a_form_without_the_token_or_with_an_old_one_is_refused(open_port, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    fields = form(page_of(open_port))
    for token in ("", "0" * 64, "\u00e9"):
        assert "load it again" in text(post(open_port, "/answers", fields | {"token": token}))
    ours = {"origin": str(open_port.base_url).rstrip("/")}
    plain = open_port.post("/api/v1/answers", content=json.dumps({}), headers={"content-type": "text/plain"})
    assert plain.status_code == 415
    assert open_port.post("/api/v1/answers", json={}, headers=ours).status_code == 403
    assert not watched.running.feedback.every()


def test_two_people_who_answer_at_once_are_told_of_each_other(open_port, watched):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    answers = []
    threads = [
        threading.Thread(target=lambda kind=kind, who=who: answers.append(ask(open_port, kind=kind, who=who)))
        for kind, who in (("expected", "eva"), ("incident", "max"), ("expected", "kim"))
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(each.status_code for each in answers) == [201, 409, 409]
    winner = next(each.json()["answer"]["who"] for each in answers if each.status_code == 201)
    for each in answers:
        if each.status_code == 409:
            assert f"{winner} has answered this incident already" in each.json()["error"]
            assert "Nothing was changed" in each.json()["error"]
    assert len(watched.running.feedback.every()) == 1


@pytest.mark.parametrize(
    ("changed", "status", "told"),
    [
        ({"job": "gone"}, 404, "There is no job of that name"),
        ({"labels": {"instance": "z"}}, 404, "No such incident is remembered"),
        ({"since": 1.0}, 404, "No such incident is remembered"),
        ({"labels": None}, 400, "Name the series"),
        ({"why": "  "}, 400, "Say why"),
        ({"why": "x" * 4096}, 400, "The reason has 4,096 characters"),
        ({"who": "x" * 300}, 400, "more than 200"),
        ({"until": "2020-01-01"}, 400, "is over already"),
        ({"until": "soon"}, 400, "The end must be"),
        ({"margin": -1}, 400, "The margin must be"),
        ({"longest": 1}, 400, "The longest duration"),
        ({"kind": "nonsense"}, 400, "cannot be understood"),
        ({"nonsense": 1}, 400, "cannot be understood"),
        ({"kind": "silence"}, 409, "train.alertmanager"),
        ({"labels": dict(B), "kind": "normal"}, 409, "no level to accept"),
        ({"labels": dict(B), "kind": "silence"}, 409, "no alert to silence"),
        ({"why": "x" * 40_000}, 413, "shorten the reason"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_says_what_happened_and_what_to_do(open_port, watched, changed, status, told):
    watched.minutes((A, B), 60, lambda ago: [ago < 10, 20 < ago < 30])
    refused = ask(open_port, **changed)
    assert (refused.status_code, told in refused.json()["error"]) == (status, True), refused.text
    assert not watched.running.feedback.every()


def test_an_incident_that_has_just_closed_can_still_be_told_apart(open_port, watched):
    watched.minutes((A, B), 60, lambda ago: [ago < 10, 20 < ago < 30])
    assert "nothing is hidden by this" in ask(open_port, labels=dict(B)).json()["note"]
    watched.minutes((A,), 3, lambda ago: [False])  # the other is gone
    assert ask(open_port, kind="incident").status_code == 201


def test_no_text_of_an_answer_can_do_anything(open_port, watched):
    watched.minutes((EVIL,), 60, lambda ago: [ago < 10])
    reason = "<script>alert(1)</script> \u202eevil\u2066 {{ 7001*7001 }} =cmd"
    page = post(open_port, "/answers", form(page_of(open_port), why=reason, who="<b>\u202eme"))
    for seen in (page, open_port.get("/answers")):
        assert "49014001" not in seen.text
        assert "\u202e" not in seen.text
        scripts = {each.get("src") for tag, each in Seen(seen.text).tags if tag == "script"}
        assert scripts <= {"static/ui.js", "static/curves.js"}
    rows = list(csv.DictReader(io.StringIO(open_port.get("/answers.csv").text)))
    assert json.loads(f'"{rows[0]["why"]}"') == reason
    for path in ("/answers?kind=%3Cscript%3E", "/answers?x=1", "/answers.csv?job=%3Cscript%3E"):
        assert "<script>alert" not in open_port.get(path).text


def test_answers_are_taken_along_as_json_and_as_labels(open_port, watched, tmp_path):
    watched.minutes((A, B), 60, lambda ago: [ago < 10, 20 < ago < 30])
    ask(open_port)
    ask(open_port, labels=dict(B), kind="incident")
    file = tmp_path / "exported.json"
    file.write_bytes(open_port.get("/answers.json").content)
    assert read_feedback(file) == list(watched.running.feedback.every())
    labels = tmp_path / "real.yml"
    labels.write_bytes(open_port.get("/answers.yml").content)
    (real,) = read_incidents(labels)
    assert real.concerns(B)
    assert not real.concerns(A)
    assert 8 * 60 <= real.end - real.start <= 10 * 60
    assert len(yaml.safe_load(labels.read_text())) == 1
    for asked, count in (("", 2), ("?kind=incident", 1), ("?standing=false", 0), ("?job=nope", 0), ("?limit=1", 1)):
        assert len(open_port.get(f"/api/v1/answers{asked}").json()["answers"]) == count


def test_answers_outlive_the_exporter(open_port, watched, tmp_path):
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    given = ask(open_port).json()["answer"]
    again = Watched(jobs={"cpu": {"expr": "x"}}, state={"path": str(tmp_path / "state")})
    (kept,) = again.running.feedback.every()
    assert kept.id == given["id"]
    assert again.running.feedback.of("cpu") == watched.running.feedback.of("cpu")


@pytest.mark.parametrize("damage", [b"", b"{}]", b"0" * 64 + b"\n{}", None])
def test_a_damaged_file_is_said_and_not_touched(serve, watched, tmp_path, damage):
    file = tmp_path / "state" / FILE
    file.parent.mkdir(exist_ok=True)
    if damage is None:
        file.mkdir()
    else:
        file.write_bytes(damage)
    watched = Watched(jobs={"cpu": {"expr": "x"}}, state={"path": str(tmp_path / "state")})
    watched.minutes((A,), 30, lambda ago: [ago < 10])
    with httpx.Client(base_url=serve(running=watched.running, actions=True).url, trust_env=False) as client:
        refused = ask(client)
        assert refused.status_code == 503
        assert "Put a copy back, or move the file away" in refused.json()["error"]
        assert "Put a copy back" in text(client.get("/answers"))
        assert "Put a copy back" in text(client.get("/"))
    assert damage is None or file.read_bytes() == damage
    if damage is None:
        return
    file.unlink()
    watched.running.feedback.prepare(watched.config).commit()
    assert watched.running.feedback.trouble == ""


def test_a_file_that_somebody_deletes_or_damages_while_we_run_costs_no_answer(open_port, watched, tmp_path):
    watched.minutes((A, B), 60, lambda ago: [ago < 10, ago < 10])
    file = tmp_path / "state" / FILE
    first = ask(open_port).json()["answer"]["id"]
    file.unlink()
    second = ask(open_port, labels=dict(B)).json()["answer"]["id"]
    assert [each.id for each in read_feedback(file)] == [first, second]
    file.write_text("damaged")
    assert ask(open_port, kind="silence").status_code == 409
    assert open_port.delete(f"/api/v1/answers/{first}").status_code == 503
    assert file.read_text() == "damaged"
    assert len(watched.running.feedback.of("cpu").expected) == 2


def test_an_answer_that_cannot_be_kept_is_none(open_port, watched, tmp_path, monkeypatch):
    watched.minutes((A,), 30, lambda ago: [ago < 10])

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("exporter.sinks.feedback_book.write_atomically", full)
    refused = ask(open_port)
    assert (refused.status_code, "nothing has changed" in refused.json()["error"]) == (503, True)
    assert not watched.running.feedback.every()


def test_hours_of_an_answer_are_those_of_the_jobs_time_zone(serve, tmp_path):
    job = {"expr": "node_memory_free_bytes", "detector": {"auto": {"time_zone": "Asia/Kolkata"}}}
    watched = Watched(jobs={"cpu": job}, state={"path": str(tmp_path / "state")})
    watched.minutes((A,), 60, lambda ago: [ago < 10])
    with httpx.Client(base_url=serve(running=watched.running, actions=True).url, trust_env=False) as client:
        begun = datetime.fromtimestamp(watched.now - 9 * STEP, ZoneInfo("Asia/Kolkata"))
        assert f"every day around {begun:%H:%M} Asia/Kolkata" in client.get("/series?job=cpu").text
        told = ask(client, when="daily").json()["answer"]["told"]
        assert told.startswith(f"every day around {begun:%H:%M} Asia/Kolkata (within 1h10m)")
    assert watched.running.feedback.every()[0].expectation.zone == "Asia/Kolkata"
    assert read_feedback(tmp_path / "state" / "feedback.json")[0].expectation.zone == "Asia/Kolkata"


def test_past_incidents_are_filtered_by_how_they_were_answered(open_port, watched):
    watched.minutes((A, B), 90, lambda ago: [60 < ago < 70 or 30 < ago < 40, 30 < ago < 40])
    first = open_port.get("/api/v1/incidents").json()["incidents"][-1]
    since = datetime.fromisoformat(first["since"]).timestamp()
    assert ask(open_port, labels=first["labels"], since=since, kind="incident").status_code == 201

    def listed(answered: str) -> list:
        found = open_port.get("/api/v1/incidents", params={"answered": answered}).json()["incidents"]
        return [(each["since"], each["answered"]) for each in found]

    assert listed("incident") == [(first["since"], ["incident"])]
    assert [answers for _, answers in listed("no")] == [[], []]
    assert listed("expected") == []
    page = open_port.get("/past?answered=incident")
    assert re.search(r"back to normal ?a real incident", text(page))
    rows = list(csv.DictReader(io.StringIO(open_port.get("/past.csv").text)))
    assert [row["answered"] for row in rows] == ["", "", "incident"]
    (answer,) = open_port.get("/api/v1/answers").json()["answers"]
    open_port.delete(f"/api/v1/answers/{answer['id']}")
    assert listed("incident") == []
    assert "answered must be" in open_port.get("/api/v1/incidents?answered=maybe").json()["error"]

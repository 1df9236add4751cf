"""`anomaly-exporter feedback`: the same answers on the command line."""

import json

import bcrypt
import pytest
from typer.testing import CliRunner

from exporter.cli.main import cli
from exporter.sinks.feedback import read_feedback
from tests.support.pages import Watched
from tests.support.verdicts import key

A, B = key(instance="a"), key(instance="b")


@pytest.fixture
def watched(tmp_path) -> Watched:
    watched = Watched(jobs={"cpu": {"expr": "x"}}, state={"path": str(tmp_path / "state")})
    watched.minutes((A, B), 30, lambda ago: [ago < 10, 12 < ago < 20])
    return watched


@pytest.fixture
def run(serve, watched, tmp_path, monkeypatch):
    secret = tmp_path / "hash"
    secret.write_text(bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode())
    users = {"eva": {"file": str(secret)}}
    server = serve(running=watched.running, users=users)
    file = tmp_path / "anomaly.yml"
    web = {"listen": server.url.removeprefix("http://"), "users": users}
    file.write_text(json.dumps({"jobs": {"cpu": {"expr": "x"}}, "web": web}))
    monkeypatch.setenv("ANOMALY_EXPORTER_PASSWORD", "secret")

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, ["feedback", *arguments, "--config", str(file)])
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_an_answer_is_given_listed_exported_and_taken_back(run, watched, tmp_path):
    new = ("--job", "cpu", "--entity", 'instance="a"', "--why", "nightly")
    told = run("expected", *new, "--when", "daily", "--longest", "2h", "--until", "30d")
    assert "eva" in told
    assert "for 2h at most" in told
    assert "comes back if it grows larger" in told
    assert "eva has answered this incident already" in run("expected", *new, code=1)
    (kept,) = watched.running.feedback.every()
    assert kept.id in run("list")
    assert json.loads(run("list", "--json"))[0]["who"] == "eva"
    file = tmp_path / "answers.json"
    file.write_text(run("export"))
    assert read_feedback(file) == [kept]
    assert run("export", "--format", "csv").startswith("at,kind,job")
    assert "taken back by eva" in run("undo", kept.id)
    assert "took this answer back already" in run("undo", kept.id, code=1)
    run("incident", "--job", "cpu", "--entity", 'instance="b"', "--why", "real")
    assert "start:" in run("export", "--format", "incidents")
    assert run("list", "--standing").count("\n") == 1


def test_what_cannot_be_answered_says_why(run, monkeypatch):
    new = ("--job", "cpu", "--why", "x")
    assert "No such incident is remembered" in run("incident", *new, "--entity", 'instance="z"', code=1)
    assert "name one series" in run("incident", *new, "--entity", 'instance!="z"', code=1)
    assert "no level to accept" in run("normal", *new, "--entity", 'instance="b"', code=1)
    assert "is not a duration" in run("expected", *new, "--entity", 'instance="a"', "--longest", "soon", code=1)
    assert "12 letters and digits" in run("undo", "../status", code=1)
    monkeypatch.setenv("ANOMALY_EXPORTER_PASSWORD", "wrong")
    assert "does not take this user and password" in run("list", code=1)
    assert "cannot be reached" in run("list", "--url", "http://127.0.0.1:1", "--user", "eva", code=1)

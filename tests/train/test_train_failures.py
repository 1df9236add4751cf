"""What a training does when something is wrong: one line says what, and the old model stays active."""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog
import typer
import yaml

from exporter.cli.train import train
from exporter.train.command import _print
from exporter.train.errors import TrainError
from exporter.train.result import TrainOutcome, exit_code
from exporter.train.training_job import WholeAnswers
from tests.support.fake import FakeSource
from tests.support.proxy import Fault, proxied
from tests.support.stub import Reply, serve

CANARY = "c4n4ry-5ecret"


@pytest.mark.servers
def test_a_window_without_data_is_a_failure_that_says_what_to_look_at(trainer, past):
    train = trainer()
    train(f"--to={past.end}")
    version = train.store.current("load").version
    ran = train("--force", f"--from={past.begin - 9e6}", f"--to={past.begin - 8e6}")
    assert (ran.code, ran.only["outcome"]) == (1, "failed")
    assert "no sample in the training window" in ran.only["reason"]
    assert train.store.current("load").version == version
    assert len(train.store.versions("load")) == 1, "no candidate of nothing"
    assert train.store.recorded("load")["outcome"] == "failed"
    assert train("--force", f"--to={past.end}").only["outcome"] == "promoted"


@pytest.mark.servers
@pytest.mark.parametrize("reset", [False, True])
def test_a_source_that_dies_while_it_is_read_fails_the_training_and_changes_nothing(trainer, past, reset):
    """Rows 1 and 4."""
    train = trainer()
    version = train(f"--to={past.end}").only["version"]
    train.config["prometheus"]["retries"] = 1
    with proxied(past.url) as proxy:
        train.config["prometheus"]["url"] = proxy.url
        whole = proxy.connections
        proxy.fault = Fault(cut_after=100, reset=reset)
        ran = train("--force", f"--to={past.end}")
        assert proxy.connections > whole
    assert (ran.code, ran.only["outcome"]) == (1, "failed"), ran
    assert "train again when the source is well" in ran.only["reason"]
    assert train.store.current("load").version == version
    assert len(train.store.versions("load")) == 1


@pytest.mark.servers
def test_a_source_that_cuts_long_answers_off_is_read_in_shorter_pieces(trainer, past):
    train = trainer()
    train.config["prometheus"]["retries"] = 0
    with proxied(past.url) as proxy:
        train.config["prometheus"]["url"] = proxy.url
        proxy.fault = Fault(cut_after=30_000)
        ran = train("--force", f"--to={past.end}")
    assert (ran.code, ran.only["outcome"]) == (0, "promoted"), ran


@pytest.mark.servers
def test_a_source_that_trickles_or_hangs_fails_the_training_within_its_deadline(trainer, past):
    """Rows 2 and 3."""
    train = trainer()
    train.config["prometheus"] |= {"deadline": "1s"}
    for fault in (Fault(trickle=0.2), Fault(black_hole=True)):
        with proxied(past.url, fault) as proxy:
            train.config["prometheus"]["url"] = proxy.url
            ran = train("--force", f"--to={past.end}")
        assert (ran.code, ran.only["outcome"]) == (1, "failed")
        assert ran.only["seconds"] < 60, "to trickle takes hours"


def test_half_an_answer_is_not_learnt_from():
    """Row 6."""
    source = FakeSource({"up": {'{"i":"a"}': {60.0: 1.0}}})
    source.warnings = ("half of it",)
    with pytest.raises(TrainError, match="only part of an answer"):
        WholeAnswers(source).range("up", 60.0, 60.0, 60.0)


def test_an_unreachable_source_is_one_line_and_exit_code_1(tmp_path, capsys):
    ran = _run(tmp_path, prometheus={"url": "http://127.0.0.1:1", "retries": 0})
    assert ran == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert '"outcome":"failed"' in line
    assert "Traceback" not in line


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"models": None}, {}, "nowhere to keep models"),
        ({}, {"job": ["lod"]}, "has no such job, only load"),
        ({}, {"start": "yesterday"}, "--from, --to, --since"),
        ({}, {"start": "10", "since": "7d"}, "not both"),
        ({}, {"start": "100", "end": "50"}, "earlier"),
        ({}, {"shards": 2, "model": "000001-20260101T000000Z"}, "--version names the model of one job"),
        ({}, {"backend": "dask"}, "needs --scheduler"),
        ({}, {"incidents": Path("no-such.yml")}, "no-such.yml"),
        ({}, {"pushgateway": f"http://user:{CANARY}@localhost:9091"}, "basic_auth"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(tmp_path, capsys, changes, options, message):
    assert _run(tmp_path, options, **changes) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""
    assert CANARY not in output.err


def test_only_a_failed_training_ends_with_an_exit_code():
    kinds = ("promoted", "skipped", "candidate", "passed", "rejected", "failed")
    every = {kind: TrainOutcome(job="j", shard="0/1", outcome=kind) for kind in kinds}
    for some in itertools.chain.from_iterable(itertools.combinations(kinds, size) for size in range(4)):
        expected = 1 if "failed" in some else 0
        assert exit_code(every[kind] for kind in some) == expected


def test_silences_that_cannot_be_read_fail_the_training_instead_of_teaching_it_outages(tmp_path, capsys):
    with serve(Reply(b'{"status": "success", "data": {"resultType": "matrix", "result": []}}')) as source:
        for reply in (Reply(b"busy", status=503), Reply(b"<html>"), Reply(b"[{}]")):
            with serve(reply) as alertmanager:
                code = _run(
                    tmp_path,
                    prometheus={"url": source.url, "retries": 0},
                    train={"alertmanager": {"url": alertmanager.url, "deadline": "1s"}},
                )
            assert code == 1
            assert "failed" in capsys.readouterr().out


@pytest.mark.servers
def test_alerts_that_cannot_be_read_fail_the_training_and_name_the_key(trainer, past):
    ran = trainer(alerts="alertname=~'('")(f"--to={past.end}")
    assert (ran.code, ran.only["outcome"]) == (1, "failed")
    assert "train.alerts" in ran.only["reason"]
    assert "--labels-from-alerts" not in ran.only["reason"]


@pytest.mark.servers
def test_no_secret_is_in_what_is_printed_stored_or_shown_by_ps(trainer, past, monkeypatch):
    """Row 53."""
    monkeypatch.setenv("TRAIN_CANARY", CANARY)
    secret = {"env": "TRAIN_CANARY"}
    train = trainer()
    train.config["prometheus"]["bearer"] = secret
    train.config["models"]["key"] = secret
    with serve(Reply(f"no: {CANARY}".encode(), status=401)) as refuses:
        endpoint = {"url": refuses.url, "username": "train", "password": secret}
        train.config["train"] |= {"pushgateway": endpoint, "backend": "loky", "shards": 2}
        train("--stage=report")  # writes the configuration
        command = [sys.executable, "-m", "exporter", "train", f"--config={train.file}", f"--to={past.end}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = set()
        while process.poll() is None:
            seen |= _arguments(process.pid)
            time.sleep(0.05)
        output, errors = process.communicate()
        asked = [request.headers.get("authorization", "") for request in refuses.requests]
    assert process.returncode in {0, 3}, errors
    assert any(asked), "the secret was used"
    assert "outcome_not_pushed" in errors
    assert seen
    assert not any(CANARY in text for text in [output, errors, *seen])
    files = [file.read_bytes() for file in (train.folder / "models").rglob("*") if file.is_file()]
    assert files
    assert not any(CANARY.encode() in content for content in files)


def _arguments(parent):
    """Return the command lines of a process and of those it started."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int(entry.name) == parent or f"PPid:\t{parent}\n" in (entry / "status").read_text():
                    found.add((entry / "cmdline").read_bytes().decode())
            except OSError:  # it has ended
                continue
    return found


def _run(folder, options=None, **changes):
    config = {
        "prometheus": {"url": "http://127.0.0.1:1", "retries": 0},
        "models": {"path": str(folder / "models")},
        "jobs": {"load": {"expr": "load", "rate": False}},
        "train": {"backend": "sequential"},
        **changes,
    }
    file = folder / "anomaly.yml"
    file.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    try:
        train(config=file, **(options or {}))
    except typer.Exit as ended:
        return ended.exit_code
    finally:
        structlog.reset_defaults()
    return None


def test_people_read_a_sentence_where_programs_read_json(capsys):
    outcome = TrainOutcome(
        job="api", shard="1/3", outcome="promoted", version="000002-x", reason="good", figures={"left_out": 0.0123}
    )
    _print(outcome, as_json=False)
    _print(outcome, as_json=True)
    text, line = capsys.readouterr().out.splitlines()
    assert text == "api (1/3): promoted 000002-x: good; 1.23% of the samples were left out of the training"
    assert json.loads(line)["figures"] == {"left_out": 0.0123}

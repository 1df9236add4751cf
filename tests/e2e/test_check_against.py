"""`check-config --against` a running exporter."""

import json

import pytest
from typer.testing import CliRunner

from exporter.cli.main import cli
from tests.web.conftest import Callbacks, Page, Server, WebConfig


def checked(file, url, *flags, **environ):
    return CliRunner().invoke(cli, ["check-config", str(file), "--against", url, *flags], env=environ)


def test_a_running_exporter_says_which_jobs_would_begin_with_a_fresh_start(exporter, tmp_path):
    jobs = {"a": {"expr": "up"}, "b": {"expr": "down"}}
    ours = exporter({"prometheus": {"url": "http://127.0.0.1:9"}, "jobs": jobs}, ready=False)
    file = tmp_path / "new.yml"
    jobs = {"a": {"expr": "up", "budget": 5}, "b": {"expr": "down", "step": "30s"}}
    file.write_text(json.dumps({"prometheus": {"url": "http://127.0.0.1:9"}, "jobs": jobs}))
    result = checked(file, ours.url)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-2:] == [
        "  a: other decisions, it keeps what it has learnt: budget",
        "  b: FRESH START, its history and open incidents are lost: step",
    ]


@pytest.mark.parametrize("status", ["older", "other"])
def test_what_is_not_an_exporter_of_this_version_is_told(status, tmp_path, monkeypatch):
    file = tmp_path / "new.yml"
    file.write_text(json.dumps({"jobs": {"a": {"expr": "up"}}}))
    monkeypatch.setattr("exporter.cli.against.PATH", "/-/nothing" if status == "older" else "/-/healthy")
    from exporter.observe.metrics import SelfMetrics

    server = Server(WebConfig(listen="127.0.0.1:0"), Page(SelfMetrics()), Callbacks(lambda: True, lambda: None))
    server.start()
    try:
        result = checked(file, server.url)
    finally:
        server.stop()
    assert result.exit_code == 1
    assert "not an anomaly-exporter" in result.stderr

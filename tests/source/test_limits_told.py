"""Whichever command reaches a limit of the source says which one, and what to set."""

import json

import pytest
import structlog
from typer.testing import CliRunner

from exporter.cli.main import cli
from tests.support.stub import Reply, serve

LIMITS = [
    (422, "query processing would load too many samples into memory in query execution", "--query.max-samples"),
    (422, "cannot select more than -search.maxSamplesPerQuery=9 samples", "-search.maxSamplesPerQuery"),
    (422, "the query hit the max number of chunks limit (limit: 5 chunks)", "max_fetched_chunks_per_query"),
    (503, "query timed out in expression evaluation", "--query.timeout"),
]
COMMANDS = [
    (["backtest", "--since", "1h"], 2),
    (["backtest", "--since", "1h", "--tune"], 2),
    (["backtest", "--since", "1h", "--labels-from-alerts", "alertname='A'"], 2),
    (["report", "--text"], 1),
    (["train", "--force", "--since", "1d"], 1),
]


@pytest.mark.parametrize(("status", "text", "setting"), LIMITS, ids=[limit[2] for limit in LIMITS])
@pytest.mark.parametrize(("command", "code"), COMMANDS, ids=[" ".join(command[::3]) for command, _ in COMMANDS])
def test_the_exit_of_a_command_names_the_limit_and_what_to_set(tmp_path, status, text, setting, command, code):
    refusal = json.dumps({"status": "error", "errorType": "execution", "error": text}).encode()
    with serve(Reply(refusal, status=status)) as stub:
        config = {
            "prometheus": {"url": stub.url, "retries": 0},
            "jobs": {"j": {"expr": "x + 0"}},
            "models": {"path": str(tmp_path / "models")},
            "train": {"backend": "sequential"},
        }
        path = tmp_path / "anomaly.yml"
        path.write_text(json.dumps(config))
        try:
            ran = CliRunner().invoke(cli, [*command, "--config", str(path)])
        finally:
            structlog.reset_defaults()
    said = " ".join(ran.output.split())
    assert ran.exit_code == code, said
    assert text[:40] in said
    assert f"raise {setting}" in said or f"raise the time limit of the source (Prometheus: {setting})" in said
    assert "correct its expression" not in said
    assert "when the source is well" not in said


def test_our_own_limit_is_named_by_its_key(tmp_path):
    with serve(Reply(b"x" * 5000)) as stub:
        path = tmp_path / "anomaly.yml"
        path.write_text(
            json.dumps({"prometheus": {"url": stub.url, "max_response": 1000}, "jobs": {"j": {"expr": "x + 0"}}})
        )
        try:
            ran = CliRunner().invoke(cli, ["backtest", "--since", "1h", "--config", str(path)])
        finally:
            structlog.reset_defaults()
    assert ran.exit_code == 2
    assert "prometheus.max_response" in ran.output

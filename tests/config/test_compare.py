"""`check-config NEW --against RUNNING`: which jobs would begin with a fresh start, and because of which keys."""

import json

import pytest
from typer.testing import CliRunner

from exporter.cli.main import cli
from exporter.config.compare import compare, decode_jobs, encode_jobs, keys_of
from exporter.config.sections.root import Config

JOBS = {name: {"expr": f"q_{name}", "budget": 1} for name in ("learns", "decides", "same", "gone")}
NEW = {
    "learns": {"expr": "q_learns", "window": "2h", "budget": 3},
    "decides": {"expr": "q_decides", "budget": 3, "publish": ["value"]},
    "same": {"expr": "q_same", "budget": 1, "alert": {"severity": "page"}},
    "new": {"expr": "q_new"},
}
LINES = [
    "learns: FRESH START, its history and open incidents are lost: window; other decisions: budget",
    "decides: other decisions, it keeps what it has learnt: budget, publish",
    "same: unchanged",
    "new: is added",
    "gone: is removed",
]


def keys(jobs, **top):
    return keys_of(Config.model_validate({"jobs": jobs, **top}))


def write(path, jobs, **top):
    path.write_text(json.dumps({"jobs": jobs, **top}))
    return str(path)


def checked(*arguments, **environ):
    return CliRunner().invoke(cli, ["check-config", *arguments], env=environ)


def test_every_job_is_listed_with_what_a_reload_costs_it_and_the_keys_that_do():
    assert list(compare(keys(JOBS), keys(NEW))) == LINES


def test_another_source_is_a_fresh_start_of_every_job():
    lines = list(compare(keys(JOBS), keys(JOBS, prometheus={"url": "http://other"})))
    assert all(line.endswith("are lost: prometheus.url") for line in lines)


def test_what_the_exporter_answers_holds_digests_and_no_value():
    text = json.dumps(encode_jobs(keys(JOBS, prometheus={"headers": {"X-Scope-OrgID": "tenant-7"}})))
    assert "q_learns" not in text
    assert "tenant-7" not in text
    assert list(compare(decode_jobs(json.loads(text)), keys(JOBS))) == [
        f"{name}: FRESH START, its history and open incidents are lost: prometheus.headers" for name in JOBS
    ]


@pytest.mark.parametrize("answer", [None, [], {"a": 1}, {"a": {"learning": {"keys": {}}}}, {"a": {"learning": 3}}])
def test_other_answers_are_refused(answer):
    with pytest.raises(ValueError, match="digests"):
        decode_jobs(answer)


def test_against_a_file(tmp_path):
    old, new = write(tmp_path / "old.yml", JOBS), write(tmp_path / "new.yml", NEW)
    result = checked(new, "--against", old)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-5:] == [f"  {line}" for line in LINES]


def test_a_mistake_in_either_file_is_told(tmp_path):
    good, bad = write(tmp_path / "good.yml", JOBS), write(tmp_path / "bad.yml", {"a": {"exp": "q"}})
    for arguments in ((good, "--against", bad), (bad, "--against", good)):
        result = checked(*arguments)
        assert result.exit_code == 2
        assert "bad.yml:1" in result.stderr


def test_an_exporter_that_does_not_answer_is_told(tmp_path):
    result = checked(write(tmp_path / "new.yml", NEW), "--against", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr

"""`anomaly-exporter rules`: what it writes, what it refuses, and what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from exporter.cli.main import cli
from exporter.config.load import ConfigError, load
from exporter.config.sections.root import Config
from rules.generate import LIST, FolderError, generate, outdated, write
from rules.render.yaml_text import HEADER

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
SOURCE = HERE / "golden.yml"


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["rules", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def config(**changes: Any) -> Config:
    """The configuration of the golden files with changes to its jobs."""
    tree = yaml.safe_load(SOURCE.read_text())
    for job, change in changes.items():
        tree["jobs"][job.replace("_", "-")] = {**tree["jobs"].get(job.replace("_", "-"), {}), **change}
    return Config.model_validate(tree)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "anomaly.yml"
    path.write_text("jobs: {a: {expr: up, publish: [alert, value]}, b: {expr: up, publish: [alert, value]}}\n")
    return path


def test_the_golden_files_are_what_is_generated() -> None:
    """After a wanted change: anomaly-exporter rules --config tests/rules/golden.yml --out tests/rules/golden."""
    code, out, err = run("--config", str(SOURCE), "--out", str(GOLDEN), "--check")
    assert (code, err) == (0, ""), err
    assert "up to date" in out


def test_the_same_configuration_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "exporter", "rules", "--config", str(SOURCE), "--out", str(tmp_path)]
    environ = {**os.environ, "PYTHONHASHSEED": "99", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONUTF8": "0"}
    subprocess.run(command, check=True, capture_output=True, env=environ, cwd=HERE.parents[1])
    assert files(tmp_path) == files(GOLDEN)


def test_a_change_of_one_job_changes_only_its_own_lines() -> None:
    before, after = (
        generate(config()),
        generate(config(api={"budget": 3, "step": "30s", "alert": {"severity": "ticket"}})),
    )
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {
        "rules/job-api.yml",
        "prometheus-operator/job-api.yml",
        "tests/job-api_test.yml",
        "runbook.md",
    }
    sections, others = (
        {text.split("\n", 1)[0]: text.splitlines() for text in made["runbook.md"].split("\n## ")}
        for made in (before, after)
    )
    touched = {name for name in sections if sections[name] != others[name]}
    assert touched == {"AnomalyApi", "AnomalyScoresStale"}
    [removed] = set(sections["AnomalyScoresStale"]) - set(others["AnomalyScoresStale"])
    assert removed == "* `api`: after 5m", "of an alert that jobs share, the line about this one"


def test_a_new_job_adds_its_files_and_touches_no_other_job() -> None:
    before, after = generate(config()), generate(config(api_2={"expr": "up"}))
    changed = {name for name in before if before[name] != after[name]}
    of_targets = {"rules/targets.yml", "prometheus-operator/targets.yml", "tests/targets_test.yml"}
    assert changed <= {"runbook.md", LIST, *of_targets}
    assert set(after) - set(before) == {
        "rules/job-api-2.yml",
        "prometheus-operator/job-api-2.yml",
        "tests/job-api-2_test.yml",
    }


def test_every_file_says_that_it_is_generated_and_every_alert_has_its_section() -> None:
    made = generate(config())
    for name, text in made.items():
        if name.endswith(".yml"):
            assert text.startswith(HEADER), name
    assert "do not edit" in made["runbook.md"].splitlines()[0]
    alerts = {
        rule["alert"]
        for name, text in made.items()
        if name.startswith("rules/")
        for rule in yaml.safe_load(text)["groups"][0]["rules"]
    }
    headings = [line[3:] for line in made["runbook.md"].splitlines() if line.startswith("## ")]
    assert headings == sorted(alerts)


def test_default_severity_is_ticket_and_nobody_is_paged_unasked(small: Path) -> None:
    made = generate(load(small, None, {}).config)
    severities = {
        rule["labels"]["severity"]
        for name, text in made.items()
        if name.startswith("rules/")
        for rule in yaml.safe_load(text)["groups"][0]["rules"]
    }
    assert severities == {"ticket", "none"}


def test_check_says_which_files_are_out_of_date_and_how_to_mend_it(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--config", str(small), "--out", str(out))
    code, _, err = run(*arguments, "--check")
    assert code == 1
    assert f"{out}/rules/job-a.yml: missing" in err
    assert not out.exists(), "a check writes nothing"
    assert run(*arguments)[0] == 0
    assert run(*arguments, "--check")[0] == 0
    before = files(out)
    (out / "rules" / "job-a.yml").write_text("groups: []\n")
    small.write_text("jobs: {a: {expr: up, publish: [alert, value]}}\n")
    code, _, err = run(*arguments, "--check")
    lines = err.splitlines()
    assert code == 1
    assert f"{out}/rules/job-a.yml: differs" in lines
    assert f"{out}/rules/job-b.yml: no longer generated" in lines
    assert lines[-1] == (f"{out} is out of date; update it with: anomaly-exporter rules --config {small} --out {out}")
    assert run(*arguments)[0] == 0
    after = files(out)
    assert after["rules/job-a.yml"] == before["rules/job-a.yml"]
    assert {name for name in before if name not in after} == {
        "rules/job-b.yml",
        "prometheus-operator/job-b.yml",
        "tests/job-b_test.yml",
    }


def test_what_is_not_generated_is_never_overwritten_nor_removed(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "alertmanager.yml").write_text("mine")
    (out / "notes.txt").write_text("mine too")
    code, _, err = run("--config", str(small), "--out", str(out))
    assert code == 2
    assert "alertmanager.yml: not generated by this command" in err
    assert files(out) == {"alertmanager.yml": b"mine", "notes.txt": b"mine too"}
    (out / "alertmanager.yml").unlink()
    assert run("--config", str(small), "--out", str(out))[0] == 0
    assert (out / "notes.txt").read_text() == "mine too"


def test_an_edited_list_leads_to_no_file_outside_the_folder(small: Path, tmp_path: Path) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    precious.write_text("keep")
    assert run("--config", str(small), "--out", str(out))[0] == 0
    with (out / LIST).open("a") as file:
        file.write(f"../precious\n{precious}\nrules/../../precious\n\0\n")
    assert run("--config", str(small), "--out", str(out))[0] == 0
    assert precious.read_text() == "keep"


def test_a_link_in_the_way_is_replaced_and_not_followed(small: Path, tmp_path: Path) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    precious.write_text("keep")
    assert run("--config", str(small), "--out", str(out))[0] == 0
    (out / "runbook.md").unlink()
    (out / "runbook.md").symlink_to(precious)
    assert run("--config", str(small), "--out", str(out))[0] == 0
    assert precious.read_text() == "keep"


def test_a_second_run_writes_nothing(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = generate(load(small, None, {}).config)
    assert len(write(out, made)) == len(made)
    times = {name: (out / name).stat().st_mtime_ns for name in made}
    assert write(out, made) == {}
    assert {name: (out / name).stat().st_mtime_ns for name in made} == times


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("--config", str(small), "--out", str(tmp_path / "file" / "out"))
    assert code == 2
    assert err.count("\n") == 1
    assert "cannot be written" in err


def test_a_run_that_was_killed_is_made_good_by_the_next(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, out = generate(load(small, None, {}).config), tmp_path / "out"
    from rules import generate as module

    done: list[Path] = []
    real = module.write_atomically

    def stops_after_three(path: Path, data: bytes) -> None:
        if len(done) == 3:
            raise OSError("no space left on device")
        done.append(path)
        real(path, data)

    monkeypatch.setattr(module, "write_atomically", stops_after_three)
    with pytest.raises(FolderError, match="no space left"):
        write(out, made)
    monkeypatch.undo()
    write(out, made)
    assert outdated(out, made) == {}


def test_what_the_files_cannot_do_is_said(small: Path, tmp_path: Path) -> None:
    small.write_text("jobs: {a: {expr: up, publish: [alert]}}\n")
    _, _, err = run("--config", str(small), "--out", str(tmp_path / "out"))
    assert "alertmanager.yml sends nothing to anybody" in err


def test_a_secret_that_is_not_there_is_said_and_no_secret_is_ever_written(tmp_path: Path) -> None:
    """Row 53: Alertmanager reads them itself, and may do so on another machine: a warning, and valid files."""
    path, secret = tmp_path / "anomaly.yml", tmp_path / "slack"
    secret.write_text("https://hooks.slack.com/hunter2")
    path.write_text(
        "jobs: {a: {expr: up, publish: [alert, value]}}\n"
        "alerting:\n  routes: {ticket: [chat]}\n  receivers:\n    chat:\n"
        f"      slack: {{webhook: {{file: {secret}}}, channel: '#a'}}\n"
        f"      pagerduty: {{routing_key: {{file: {tmp_path}/nowhere}}}}\n"
    )
    code, _, err = run("--config", str(path), "--out", str(tmp_path / "out"))
    assert code == 0
    assert err.splitlines() == [
        f"note: alerting.receivers.chat.pagerduty.routing_key: secret file {tmp_path}/nowhere cannot be read: "
        "FileNotFoundError; Alertmanager will need it"
    ]
    assert b"hunter2" not in b"".join(files(tmp_path / "out").values())


@pytest.mark.parametrize(
    ("alerting", "alert", "said"),
    [
        ("{}", "{receivers: [chatt]}", "a: alert: there is no receiver 'chatt'; there are: none"),
        ("{receivers: {chat: {webhook: {url: 'http://x'}}}, routes: {ticket: [chat]}}", "{receivers: [chatt]}",
         "a: alert: there is no receiver 'chatt'; did you mean 'chat'?"),
        ("{receivers: {chat: {webhook: {url: 'http://x'}}}, routes: {ticket: [chat]}}", "{severity: page}",
         "a: alert: severity 'page' reaches nobody"),
        ("{receivers: {chat: {webhook: {url: 'http://x'}}}}", "{receivers: [chat]}",
         "severity 'ticket' reaches nobody"),
        ("{receivers: {chat: {}}}", "{}", "reaches nobody: give at least one of slack"),
        ("{receivers: {chat: {webhook: {url: 'http://x?token=hunter2'}}}}", "{}", "leave out what begins with ?"),
        ("{receivers: {chat: {slack: {channel: a, webhook: {env: HOOK}}}}}", "{}",
         "Alertmanager reads this secret itself"),
        ("{receivers: {chat: {slack: {channel: a, webhook: {file: hook}}}}}", "{}",
         "Alertmanager reads this secret itself"),
        ("{receivers: {chat: {slack: {channel: a, webhook: 'https://hunter2'}}}}", "{}", "never the secret itself"),
        ("{receivers: {'a b': {webhook: {url: 'http://x'}}}}", "{}", "is not a name of a receiver"),
        ("{receivers: {nobody: {webhook: {url: 'http://x'}}}}", "{}", "and not 'nobody'"),
        ("{receivers: {chat: {webhook: {url: 'http://x'}, group_interval: 1m}}}", "{}",
         "lets through more than 3 messages in 10m: at least 10m"),
        ("{receivers: {chat: {webhook: {url: 'http://x'}, mute: [nihgt]}}, "
         "time_intervals: {night: {times: ['22:00-06:00']}}}",
         "{}", "chat: mute: there is no time interval 'nihgt'; did you mean 'night'?"),
        ("{time_intervals: {night: {times: ['25:00-06:00']}}}", "{}", "'25:00-06:00' is not a time range"),
        ("{time_intervals: {night: {location: Nowhere/Else}}}", "{}", "unknown time zone 'Nowhere/Else'"),
        ("{time_intervals: {night: {weekdays: [someday]}}}", "{}", "'someday' is no day of the week"),
        ("{time_intervals: {night: {}}}", "{}", "is always: give times"),
        ("{}", "{labels: {severity: x}}", "severity: set by the rules themselves"),
        ("{}", "{labels: {a-b: x}}", "is not a label name"),
        ("{}", "{vanished: 2}", "must be at most 1, not 2"),
        ("{}", "{metric: score}", "must be alert or flag"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_and_nothing_is_written(alerting: str, alert: str, said: str, tmp_path: Path) -> None:
    """Unknown receivers, severities that reach nobody, secrets in the file: one clear error, no output."""
    path = tmp_path / "anomaly.yml"
    path.write_text(f"jobs: {{a: {{expr: up, alert: {alert}}}}}\nalerting: {alerting}\n")
    code, _, err = run("--config", str(path), "--out", str(tmp_path / "out"))
    assert code == 2
    assert said in err
    assert "hunter2" not in err
    assert f"{path}:" in err
    assert not (tmp_path / "out").exists()


def test_two_jobs_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "anomaly.yml"
    path.write_text("jobs:\n  a: {expr: up}\n  a: {expr: down}\n")
    with pytest.raises(ConfigError, match="given twice"):
        load(path, None, {})

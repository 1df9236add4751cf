"""The command line is like that of its neighbours: completion, examples, one way to name the file, `--output`."""

import io
import json
import shlex
from pathlib import Path

import click
import pytest
import typer
import yaml
from typer.testing import CliRunner

from exporter.cli.examples import EXAMPLES, PROGRAM
from exporter.cli.main import cli
from exporter.cli.output import as_yaml, with_output
from exporter.config.sections.service import LogConfig
from exporter.observe import logs

ROOT = Path(__file__).parents[1]
COMMANDS = typer.main.get_command(cli)


def commands(group: click.Group, before: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found |= commands(command, f"{name} ") if hasattr(command, "commands") else {before + name: command}
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_of_a_help_text_is_a_command_that_parses(name: str) -> None:
    command = commands(COMMANDS)[name]
    for example in EXAMPLES[name]:
        words = shlex.split(example)
        assert " ".join(words).startswith(name)
        command.make_context(name, words[len(name.split()) :])
    shown = CliRunner().invoke(cli, [*name.split(), "--help"], env={"COLUMNS": "300"}).output
    assert all(f"{PROGRAM} {example}" in shown for example in EXAMPLES[name])


def test_no_command_is_without_examples() -> None:
    assert set(commands(COMMANDS)) == set(EXAMPLES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    script = CliRunner().invoke(cli, [], prog_name=PROGRAM, env={"_ANOMALY_EXPORTER_COMPLETE": f"source_{shell}"})
    assert "_ANOMALY_EXPORTER_COMPLETE" in script.output
    asked = {"_ANOMALY_EXPORTER_COMPLETE": "complete_bash", "COMP_WORDS": f"{PROGRAM} che", "COMP_CWORD": "1"}
    assert CliRunner().invoke(cli, [], prog_name=PROGRAM, env=asked).output.split() == ["check-config"]


def test_the_file_is_named_in_one_way_and_by_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "anomaly.yml"
    file.write_text("jobs: {a: {expr: up}}")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    told = {
        run(cli, ["check-config", *flags], env=env).output
        for flags, env in (
            (["anomaly.yml"], {}),
            (["--config", "anomaly.yml"], {}),
            ([], {}),
            ([], {"ANOMALY_EXPORTER_CONFIG": "anomaly.yml"}),
        )
    }
    assert len(told) == 1
    assert "anomaly.yml: good; 1 job" in told.pop()


def test_a_check_is_data_for_programs(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("jobs:\n  a: {expr: up, stp: 1m}\n  b: {expr: up, window: hunter2}")
    bad = CliRunner().invoke(cli, ["check-config", str(file), "-o", "json"])
    assert bad.exit_code == 2
    mistakes = json.loads(bad.output)["mistakes"]
    assert [(each["file"], each["line"], each["key"]) for each in mistakes] == [
        (str(file), 2, "jobs.a.stp"),
        (str(file), 3, "jobs.b.window"),
    ]
    file.write_text("jobs: {a: {expr: up, step: 30s}}\nnotify: {slack: {env: NOT_SET}}")
    good = CliRunner().invoke(cli, ["check-config", str(file), "-o", "yaml"])
    found = yaml.safe_load(good.output)
    assert (good.exit_code, found["good"], found["jobs"]["a"]["step"]) == (0, True, 30.0)
    assert "NOT_SET is not set" in found["warnings"][0]


def test_every_form_of_a_result_says_the_same() -> None:
    def listed(json: bool = False) -> None:
        typer.echo('{"a": [1, "ü: #"]}\n{"b": null}' if json else "a table")

    app = typer.Typer()
    app.command()(with_output(listed))

    def ask(*flags: str) -> str:
        return CliRunner().invoke(app, list(flags)).output

    assert ask() == ask("--output", "table") == "a table\n"
    assert ask("--json") == ask("-o", "json")
    assert list(yaml.safe_load_all(ask("-o", "yaml"))) == [{"a": [1, "ü: #"]}, {"b": None}]
    assert CliRunner().invoke(app, ["-o", "xml"]).exit_code == 2
    assert as_yaml([]) == ""


def test_a_log_is_text_on_a_terminal_and_json_in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def logged(stream: io.StringIO) -> str:
        logs.configure(LogConfig(), stream)
        logs.structlog.get_logger().info("hello", job="a")
        return stream.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert json.loads(logged(io.StringIO()))["event"] == "hello"
    assert "\x1b[" in logged(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "hello" in logged(Terminal())
    assert "\x1b[" not in logged(Terminal())

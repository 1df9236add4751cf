"""One small bad file per mistake in `bad/`, with the exact words beside it in `NAME.txt`."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from exporter.config.errors import MOST, Mistake
from exporter.config.load import ConfigError, load

BAD = Path(__file__).parent / "bad"
FILES = sorted(file.name for file in BAD.iterdir() if file.suffix != ".txt")


def mistakes(path: Path, profile: str | None = None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, profile, environ)
    return str(caught.value)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = Path("anomaly.yml")
    file.write_text("jobs:\n  node-cpu: {expr: node_load1, detector: robust}\n")
    return file


@pytest.mark.parametrize("name", FILES)
def test_each_mistake_is_said_in_its_exact_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 30: duplicate keys, tabs, tags, aliases and wrong encodings among them."""
    monkeypatch.chdir(BAD)
    assert mistakes(Path(name)) + "\n" == Path(f"{name}.txt").read_text()


@pytest.mark.parametrize("name", FILES)
def test_no_mistake_repeats_a_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 53: wherever `hunter2` stands in a bad file, it is not said again."""
    monkeypatch.chdir(BAD)
    assert "hunter2" not in mistakes(Path(name))


def test_every_text_belongs_to_a_bad_file() -> None:
    assert sorted(file.name.removesuffix(".txt") for file in BAD.glob("*.txt")) == FILES


def test_a_mistake_has_file_line_place_and_message() -> None:
    with pytest.raises(ConfigError) as caught:
        load(BAD / "unknown_key.yml", None, {})
    assert caught.value.mistakes == (
        Mistake(
            str(BAD / "unknown_key.yml"),
            4,
            ("jobs", "node-cpu", "directon"),
            "unknown key; did you mean 'direction'?",
        ),
    )


def test_a_file_that_is_not_there_is_one_clear_mistake(base: Path) -> None:
    assert mistakes(Path("anomly.yml")) == "anomly.yml: there is no such file"
    assert mistakes(base / "x.yml") == "anomaly.yml/x.yml: there is no such file"
    assert mistakes(Path("a\0.yml")) == "a\ufffd.yml: the path holds a NUL character"


def test_a_folder_is_one_clear_mistake(base: Path) -> None:
    assert mistakes(Path()) == ".: is a folder; name the configuration file in it"


def test_a_pipe_is_refused_and_not_waited_for(base: Path) -> None:
    os.mkfifo("pipe.yml")
    assert mistakes(Path("pipe.yml")) == "pipe.yml: is a pipe or device; a configuration must be a file"


def test_a_file_that_may_not_be_read_is_one_clear_mistake(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "anomaly.yml")

    monkeypatch.setattr(Path, "open", refused)  # root may read everything, so the refusal is played
    assert mistakes(base) == "anomaly.yml: cannot be read: Permission denied"


def test_mistakes_of_base_profile_and_environment_are_reported_together(base: Path) -> None:
    base.write_text("jobs:\n  node-cpu: {expr: node_load1, stepp: 1m}\nlog: {level: loud}\n")
    Path("anomaly.dev.yml").write_text("# dev\njobs:\n  node-cpu: {windw: 1h}\nlog: {level: louder}\n")
    variable = "environment variable ANOMALY_EXPORTER__PROMETHEUS__URL"
    assert mistakes(
        base,
        "dev",
        ANOMALY_EXPORTER__PROMETHEUS__URL="ftp://x",
        ANOMALY_EXPORTER__PROMETHEUS__URLL="x",
    ).splitlines() == [
        "anomaly.yml:2: jobs.node-cpu.stepp: unknown key; did you mean 'step'?",
        "anomaly.dev.yml:3: jobs.node-cpu.windw: unknown key; did you mean 'window'?",
        "anomaly.dev.yml:4: log.level: must be debug, info, warning or error, not 'louder'",
        f"{variable}: prometheus.url: must be an http:// or https:// address",
        f"{variable}L: prometheus.urll: unknown key; did you mean 'url'?",
    ]


def test_a_profile_without_its_file_names_the_profiles_there_are(base: Path) -> None:
    Path("anomaly.prod.yml").write_text("log: {level: info}\n")
    Path("anomaly.stage.yml").write_text("log: {level: info}\n")
    assert mistakes(base, "prd") == (
        "anomaly.prd.yml: there is no such file, but the profile asks for it; "
        "profile files next to anomaly.yml: anomaly.prod.yml, anomaly.stage.yml"
    )


def test_a_profile_cannot_lead_out_of_the_folder(base: Path) -> None:
    assert mistakes(base, "../dev") == "anomaly.yml: '../dev' is not a profile name: letters, digits, _ and - only"


def test_a_null_for_a_key_nobody_knows_is_a_mistake(base: Path) -> None:
    Path("anomaly.dev.yml").write_text("prometheus: {bearr: null}\n")
    assert mistakes(base, "dev") == "anomaly.dev.yml:1: prometheus.bearr: unknown key; did you mean 'bearer'?"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("JOBS__NODE_CPU__STEPP", "1m", "jobs.node-cpu.stepp: unknown key; did you mean 'step'?"),
        ("JOBS__MEMORY__STEP", "1m", "jobs.memory: unknown key; known here: node-cpu"),
        ("JOBS__NODE_CPU__FILL", "few", "jobs.node-cpu.fill: must be a whole number, not 'few'"),
        (
            "JOBS__NODE_CPU__DETECTOR__ROBUST__DEVIATION",
            "3",
            "jobs.node-cpu.detector.robust.deviation: unknown key; did you mean 'deviations'?",
        ),
        ("LIMITS__SERIES", "0", "limits.series: must be at least 1, not 0"),
        ("JOBS__NODE_CPU__ENTITY", "[instance", "not valid YAML: a list in brackets lacks a comma or its closing ]"),
        (
            "",
            "x",
            "'': unknown key; known here: jobs, prometheus, budget, deploys, defaults, calendars, discover, web, "
            "audit, models, state, leader, log, limits, alerting, notify, remote_write, drift_detection, report, "
            "train, reload_poll",
        ),
        (
            "PROMETHEUS__BEARER",
            "hunter2",
            "prometheus.bearer: must be a reference, {env: NAME} or {file: PATH}, never the secret itself",
        ),
        ("WEB__LISTEN", "\udcff", "is not UTF-8"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(base: Path, variable: str, value: str, message: str) -> None:
    name = f"ANOMALY_EXPORTER__{variable}"
    assert mistakes(base, **{name: value}) == f"environment variable {name}: {message}"


def test_a_variable_that_could_mean_two_jobs_is_a_mistake(base: Path) -> None:
    base.write_text("jobs:\n  node-cpu: {expr: up}\n  node_cpu: {expr: up}\n")
    name = "ANOMALY_EXPORTER__JOBS__NODE_CPU__STEP"
    assert mistakes(base, **{name: "30s"}) == (
        f"environment variable {name}: jobs: could mean node-cpu or node_cpu; rename one of them, or set this in a file"
    )


def test_a_detector_that_cannot_be_imported_says_what_is_missing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detectors.DETECTORS", {"robust": "no_such_module:Robust"})
    monkeypatch.setattr("exporter.config.known_keys.DETECTORS", {"robust": "no_such_module:Robust"})
    expected = "this detector needs the Python module no_such_module, which is not installed"
    assert mistakes(base) == f"anomaly.yml:2: jobs.node-cpu.detector: {expected}"
    base.write_text("jobs:\n  a: {expr: up, detector: {robust: {deviations: 3}}}\n")
    assert mistakes(base) == f"anomaly.yml:2: jobs.a.detector: {expected}"


def test_a_flood_of_mistakes_is_cut(base: Path) -> None:
    base.write_text("jobs:\n  a: {expr: up}\n" + "".join(f"key{n}: 1\n" for n in range(20_000)))
    lines = mistakes(base).splitlines()
    assert len(lines) == MOST + 1
    assert lines[-1] == "… and more mistakes"


def test_what_is_said_can_be_printed_on_any_terminal(base: Path) -> None:
    base.write_text('jobs:\n  a: {expr: up}\n"\\e[31mred\\n": 1\n' + f"{'x' * 500}: 1\n")
    first, second = mistakes(base).splitlines()
    assert first.startswith("anomaly.yml:3: \ufffd[31mred\ufffd: unknown key")
    assert second.startswith(f"anomaly.yml:4: {'x' * 80}…: unknown key")

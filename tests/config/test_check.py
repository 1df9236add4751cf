"""`check-config`: 0 with a summary, 2 with every mistake."""

from pathlib import Path

import pytest

from exporter.config.check import check
from exporter.config.load import load

EXAMPLES = Path(__file__).parents[2] / "examples"
BAD = Path(__file__).parent / "bad"


def test_a_good_file_gives_a_summary_and_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(EXAMPLES / "anomaly.yml", environ={}) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, *rest = out.splitlines()
    digest = load(EXAMPLES / "anomaly.yml", None, {}).digest
    assert first == f"{EXAMPLES / 'anomaly.yml'}: good; 2 jobs, 3 queries, digest {digest}"
    assert rest[0].startswith("  node-cpu: auto, every 1m on 1h, digest ")
    assert rest[1] == '    value: 1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))'


def test_a_bad_file_gives_every_mistake_and_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BAD)
    assert check(Path("many_at_once.yml"), environ={}) == 2
    out, err = capsys.readouterr()
    expected = Path("many_at_once.yml.txt").read_text()
    assert out == ""
    assert err == f"{expected}many_at_once.yml: {len(expected.splitlines())} mistakes\n"


def test_one_mistake_is_one_mistake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert check(tmp_path / "x.yml", environ={}) == 2
    assert capsys.readouterr().err.endswith("x.yml: 1 mistake\n")


@pytest.mark.parametrize("profile", [None, "dev", "stage", "prod"])
def test_the_example_is_good_with_every_profile(profile: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(EXAMPLES / "anomaly.yml", profile, environ={}) == 0


def test_a_secret_that_cannot_be_read_here_is_a_warning_not_a_mistake(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOD", "hunter2")
    file = tmp_path / "a.yml"
    file.write_text(
        f"prometheus: {{bearer: {{file: {tmp_path}/none}}, headers: {{X-Api-Key: {{env: NONE}}}}}}\n"
        "jobs: {a: {expr: up}}\nweb: {users: {bob: {env: GOOD}}}\nnotify: {slack: {env: NONE}}\n"
    )
    assert check(file, environ={}) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith(("note", "warning"))] == [
        f"warning: prometheus.bearer: secret file {tmp_path}/none cannot be read: FileNotFoundError",
        "warning: prometheus.headers.X-Api-Key: secret environment variable NONE is not set or empty",
        "warning: notify.slack: secret environment variable NONE is not set or empty",
    ]
    assert "hunter2" not in out


def test_loading_reads_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("prometheus: {bearer: {file: /nowhere/token}}\njobs: {a: {expr: up}}\n")
    assert load(file, None, {}).config.prometheus.bearer is not None


def test_a_configuration_without_jobs_of_its_own_is_good_where_teams_declare_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("discover: {budget: 2 per week}\n")
    assert check(file, environ={}) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{file}: good; 0 jobs, 0 queries, digest ")
    assert out[1:] == ["declared jobs: at most 2 alerts per week by chance in each namespace"]

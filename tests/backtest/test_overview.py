"""What would it have alerted last week: one list over all jobs, the same as a live run would have made."""

import csv
import json
import time
from collections import defaultdict
from contextlib import closing
from datetime import datetime

import numpy as np
import pytest

from deploy.demo.servers import PrometheusServer, backfill, openmetrics
from detectors.units import DAY, HOUR, WEEK
from exporter.config.load import load
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.expectation import NO_FEEDBACK, Expectation, Limit
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.verdict import Verdict
from exporter.service.runner import Runner
from exporter.sinks import checked_json
from exporter.sinks.audit import AuditSink
from exporter.sinks.base import EveryVerdict
from exporter.sinks.feedback import Feedback, Saved, of_jobs
from exporter.sinks.registry import Sinks
from exporter.source.prometheus import Prometheus
from tests.support.command import backtest

pytestmark = pytest.mark.servers
STEP, PAST, RANGE = 300.0, 3 * DAY, 2 * DAY


@pytest.fixture(scope="module")
def world(servers, tmp_path_factory):
    """A Prometheus with five days of two services; return its address and the end of what it knows."""
    end = (time.time() - HOUR) // WEEK * WEEK - DAY  # a Wednesday: on other days chance opens other incidents
    times = np.arange(end - PAST - RANGE, end + 1, STEP)
    rng, lines = np.random.default_rng(3), []

    def put(name, labels, wrong=()):
        values = 10 + np.sin(2 * np.pi * times / DAY) + 0.5 * rng.normal(size=len(times))
        for hours_before_end, hours, height in wrong:
            begin = end - hours_before_end * HOUR
            values[(times > begin) & (times <= begin + hours * HOUR)] += height
        lines.extend(openmetrics(name, labels, times.tolist(), values.tolist()))

    put("load", {"instance": "a:9100"}, [(40, 2, 12.0), (10, 0.25, 3.0)])
    put("load", {"instance": "b:9100"}, [(1.5, 9, 9.0)])
    put("load", {"instance": "c:9100"}, [(49, 3, 8.0)])
    put("errors", {"service": 'x"y'}, [(30, 0.5, 5.0), (20, 0.5, 5.0)])
    put("errors", {"service": "z"})
    directory = tmp_path_factory.mktemp("world")
    backfill(directory, lines, longest_block="192h")
    with PrometheusServer(directory) as server:
        yield server.url, end


@pytest.fixture
def config(world, tmp_path):
    """Write a configuration of these jobs, each a dictionary; return its path."""

    def write(text="", url=None, **jobs):
        path = tmp_path / "anomaly.yml"
        common = {"step": "5m", "window": "1h", "history": "3d", "rate": False}
        path.write_text(
            text + f"\nprometheus: {{url: '{url or world[0]}', retries: 0}}\njobs: "
            + json.dumps({name: common | job for name, job in jobs.items()})
        )  # fmt: skip
        return path

    return write


def asked(path, end, *more):
    result = backtest("--config", path, "--from", end - RANGE, "--to", end, *more)
    assert "Traceback" not in result.output
    return result


class Alerts(EveryVerdict):
    """Remembers when each entity had an alert."""

    def __init__(self) -> None:
        self.since: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._open: set[tuple[str, str]] = set()

    def record(self, verdict: Verdict) -> None:
        open_now = {(verdict.job, json.dumps(dict(verdict.keys[row]))) for row in np.flatnonzero(verdict.alert)}
        for entity in open_now - self._open:
            self.since[entity].append(verdict.time)
        self._open = {each for each in self._open if each[0] != verdict.job} | open_now


def lived(path, first, last, heeded=lambda _: NO_FEEDBACK):
    """Run every cycle from `first` to `last` as the exporter does; return incidents by the audit file, and alerts."""
    loaded, metrics, alerts = load(path).config, SelfMetrics(), Alerts()
    audit = AuditSink(metrics)
    audit.prepare(loaded).commit()
    sinks = Sinks(metrics, {"audit": audit, "alerts": alerts})
    with closing(Prometheus(loaded.prometheus, loaded.limits)) as source:
        for name, job in loaded.jobs.items():
            runner = Runner(Job(JobSettings(name, job), source), Telemetry(metrics), sinks)
            runner.job.heed(heeded(name))
            for now in np.arange(first, last + 1, STEP):
                runner.cycle(float(now) + 1.0)
    sinks.close(30.0)
    with loaded.audit.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    spans, begun = [], {}
    for row in rows:
        entity, moment = (row["job"], json.dumps(json.loads(row["labels"]))), datetime.fromisoformat(row["time"])
        if row["flag"] == "1":
            begun.setdefault(entity, moment.timestamp())
        else:
            spans.append((*entity, begun.pop(entity), moment.timestamp()))
    return spans + [(*entity, start, None) for entity, start in begun.items()], alerts.since


def test_with_the_answers_of_people_the_list_is_what_a_live_run_that_heeded_them_has(world, config, tmp_path):
    _, end = world
    path = config(f"audit: {{path: '{tmp_path / 'audit.csv'}'}}", load={"expr": "load", "direction": "above"})
    first = np.ceil((end - RANGE) / STEP) * STEP
    seconds = lambda text: None if text is None else datetime.fromisoformat(text).timestamp()  # noqa: E731
    plain = json.loads(asked(path, end, "--json").stdout)["incidents"]
    answered = next(each for each in plain if each["labels"] == {"instance": "a:9100"})
    since, at = seconds(answered["start"]), seconds(answered["start"]) + 2.5 * STEP
    always = Expectation(since, None, at, "always", [Limit("load", high=100.0), Limit("value", high=100.0)])
    feedback = Feedback("1", "expected", "load", answered["labels"], since, None, at, "eva", "why", always)
    file = tmp_path / "feedback.json"
    file.write_bytes(checked_json.encode(Saved([feedback])))
    spans, _ = lived(path, first, end, of_jobs([feedback]))
    found = json.loads(asked(path, end, "--json", "--answers", file).stdout)["incidents"]
    listed = [
        (each["job"], json.dumps(each["labels"]), max(seconds(each["start"]), first), seconds(each["end"]))
        for each in found
    ]
    assert sorted(listed, key=str) == sorted(spans, key=str)
    assert len(found) < len(plain) or [each["end"] for each in found] != [each["end"] for each in plain]
    shorter = next(each for each in found if each["start"] == answered["start"])
    assert seconds(shorter["end"]) == since + 3 * STEP
    assert "there is no such file" in asked(path, end, "--answers", tmp_path / "none").output
    file.write_text("damaged")
    assert "cannot be read" in asked(path, end, "--answers", file).output


def test_the_list_is_what_a_live_run_has_in_its_audit_file_and_what_it_alerted(world, config, tmp_path):
    _, end = world
    path = config(
        f"audit: {{path: '{tmp_path / 'audit.csv'}'}}",
        load={"expr": "load", "direction": "above"},
        errors={"expr": "errors", "budget": "0.2 per week"},
    )
    first = np.ceil((end - RANGE) / STEP) * STEP
    spans, alerts = lived(path, first, end)
    found = json.loads(asked(path, end, "--json").stdout)
    seconds = lambda text: None if text is None else datetime.fromisoformat(text).timestamp()  # noqa: E731
    listed = [
        (each["job"], json.dumps(each["labels"]), max(seconds(each["start"]), first), seconds(each["end"]))
        for each in found["incidents"]
    ]
    assert sorted(listed, key=str) == sorted(spans, key=str)
    alerted = {(each["job"], json.dumps(each["labels"])) for each in found["incidents"] if each["alert"]}
    assert alerted == set(alerts)
    for each in found["incidents"]:
        if each["alert"]:
            assert seconds(each["alert_since"]) in alerts[each["job"], json.dumps(each["labels"])]
    assert found["alerts"] == sum(moment > first for moments in alerts.values() for moment in moments)
    assert len(spans) > 3
    assert 0 < len(alerted) < len(spans)
    before = [each for each in found["incidents"] if seconds(each["start"]) < first]
    assert [each["labels"] for each in before] == [{"instance": "c:9100"}], "open when the range begins"
    assert [each["labels"] for each in found["incidents"] if each["end"] is None] == [{"instance": "b:9100"}]


def test_jobs_that_fail_are_named_and_the_others_are_answered(world, config):
    _, end = world
    path = config(
        load={"expr": "load"},
        limited={"expr": "load", "max_series": 1, "history": None},
        nowhere={"expr": "no_such_metric"},
        wrong={"expr": "rate(load)"},
    )
    result = asked(path, end)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].endswith("; 2 of 4 jobs are missing or incomplete")
    assert "job nowhere: the queries gave no series in this time range; try them in Prometheus\n" in result.stderr
    assert "\njob wrong: the source rejects the query: " in result.stderr
    assert any(line.split()[:3] == ["wrong", "unknown", "never"] for line in lines)
    assert any(line.split()[:2] == ["load", "3"] for line in lines)
    found = json.loads(asked(path, end, "--json", "--job", "nowhere", "--job", "load").stdout)
    assert [(job["name"], bool(job["error"])) for job in found["jobs"]] == [("nowhere", True), ("load", False)]
    assert {each["job"] for each in found["incidents"]} == {"load"}


def test_a_source_that_does_not_answer_is_named_for_every_job(config, world):
    path = config(url="http://127.0.0.1:1", load={"expr": "load"}, errors={"expr": "errors"})
    result = asked(path, world[1])
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if "deploys_not_answered" not in line]
    assert [line.split(":")[0] for line in lines] == ["job load", "job errors"]
    assert result.stdout == "", "nothing is known, which is not nothing"
    assert json.loads(asked(path, world[1], "--json").stdout)["alerts"] is None


def test_the_list_fits_a_terminal_of_80_columns_and_tells_why_an_incident_was_no_alert(world, config, monkeypatch):
    monkeypatch.setattr("exporter.backtest.command._WIDTH_OF_A_LIST", 80)
    _, end = world
    path = config(
        load={"expr": "load", "budget": "0.2 per week"},
        slow={"expr": "errors", "alert": {"metric": "flag", "for": "45m"}},
    )
    result = asked(path, end)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["start,", "UTC", "length", "entity", "job", "severity", "alert"]
    text = " ".join(result.stdout.split())
    assert "no: the budget asks for a severity of" in " ".join(text.split())
    assert "over before its for of 45m" in text
    starts = [line[:16] for line in lines if line[:2] == "20" and " to " not in line]
    assert starts == sorted(starts)
    assert len(starts) >= 5


def test_the_flat_file_of_the_first_version_is_answered_too(world, tmp_path):
    url, end = world
    path = tmp_path / "config.yml"
    path.write_text(
        f"prometheus_url: {url}\nmetrics: [load, 'errors{{service=\"z\"}}']\nstep: 5m\nwindow_minutes: 120\n"
        f"output_csv: {tmp_path / 'anomalies.csv'}\n"
    )
    result = asked(path, end, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(job["entities"], job["judged"]) for job in found["jobs"]] == [(3, 1), (1, 1)]
    assert not (tmp_path / "anomalies.csv").exists(), "the past goes into no audit file"


def test_figures_are_of_one_job_and_say_so(world, config, tmp_path):
    path = config(load={"expr": "load"}, errors={"expr": "errors"})
    result = asked(path, world[1], "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "choose it with --job: load, errors" in result.stderr
    assert "--job lod: " in asked(path, world[1], "--job", "lod").stderr

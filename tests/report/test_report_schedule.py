"""Reports of the running exporter: each period once, in a process of its own, failures counted and said."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deploy.demo.servers import ExporterServer, PrometheusServer, backfill, get, openmetrics
from exporter.config.load import ConfigError, load
from exporter.config.sections.service import ReportConfig
from exporter.observe.metrics import SelfMetrics
from exporter.report import schedule
from exporter.report.data import Period
from exporter.report.schedule import Reporter, file_name, last_period
from tests.support.waiting import PATIENCE, eventually

WEDNESDAY = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
_WRITES = "import sys; open(sys.argv[sys.argv.index('--out') + 1], 'w').write(' '.join(sys.argv[1:]))"


@pytest.fixture
def metrics() -> SelfMetrics:
    return SelfMetrics()


@pytest.fixture
def reporter(metrics, tmp_path, monkeypatch):
    """Make a reporter whose child runs Python text; `reporter.later(seconds)` moves its clocks."""
    offset = 0.0

    def make(text: str) -> Reporter:
        return Reporter(
            tmp_path / "a.yml", "prod", metrics, lambda: WEDNESDAY + offset, (sys.executable, "-c", text)
        )  # fmt: skip

    def later(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    real = time.monotonic
    monkeypatch.setattr(schedule.time, "monotonic", lambda: real() + offset)
    make.later = later
    return make


def until_done(reporter: Reporter, config: ReportConfig) -> None:
    def ended() -> bool:
        reporter.tick(config)
        return reporter._child is None

    eventually(ended)


def outcomes(metrics: SelfMetrics) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in metrics.reports.collect()
        for sample in family.samples
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rhythm", "now", "name", "end"),
    [
        ("weekly", "2026-03-04T12:00", "report-week-2026-02-23.html", "2026-03-02"),
        ("weekly", "2026-03-02T00:04", "report-week-2026-02-16.html", "2026-02-23"),
        ("weekly", "2026-03-02T00:06", "report-week-2026-02-23.html", "2026-03-02"),
        ("monthly", "2026-03-04T12:00", "report-month-2026-02-01.html", "2026-03-01"),
        ("monthly", "2026-01-31T12:00", "report-month-2025-12-01.html", "2026-01-01"),
    ],
)
def test_a_report_is_about_the_last_whole_week_or_month(rhythm, now, name, end):
    period = last_period(rhythm, datetime.fromisoformat(f"{now}+00:00").timestamp())
    assert file_name(period) == name
    assert datetime.fromtimestamp(period.end, UTC) == datetime.fromisoformat(f"{end}T00:00+00:00")
    assert Period.until(period.name, period.end) == period


def test_a_month_begins_on_its_last_day_where_it_has_no_31st():
    end = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
    assert datetime.fromtimestamp(Period.until("month", end).start, UTC) == datetime(2026, 2, 28, 12, tzinfo=UTC)


def test_each_period_is_reported_once_and_the_oldest_reports_go(reporter, metrics, tmp_path):
    config = ReportConfig(path=tmp_path / "new" / "reports", keep=2)
    config.path.mkdir(parents=True)
    for day in ("2026-02-09", "2026-02-16"):
        (config.path / f"report-week-{day}.html").write_text("old")
    (config.path / "mine.html").write_text("not ours")
    made = reporter(_WRITES)
    until_done(made, config)
    assert {path.name for path in config.path.iterdir()} == {
        "report-week-2026-02-16.html", "report-week-2026-02-23.html", "mine.html",
    }  # fmt: skip
    arguments = (config.path / "report-week-2026-02-23.html").read_text()
    assert f"--config {tmp_path / 'a.yml'} --profile prod --period week --to 2026-03-02T00:00:00+00:00" in arguments
    reporter.later(120)
    until_done(made, config)
    assert outcomes(metrics) == {"made": 1}
    reporter.later(7 * 86_400)
    until_done(made, config)
    assert outcomes(metrics) == {"made": 2}


def test_a_failure_is_counted_and_said_and_tried_again_in_an_hour_only(reporter, metrics, tmp_path):
    made = reporter("import sys; sys.exit('no report: nobody answers')")
    with capture_logs() as logs:
        until_done(made, ReportConfig(path=tmp_path))
        reporter.later(1800)
        until_done(made, ReportConfig(path=tmp_path))
        assert outcomes(metrics) == {"failed": 1}
        reporter.later(1900)
        until_done(made, ReportConfig(path=tmp_path))
    assert outcomes(metrics) == {"failed": 2}
    assert logs[0]["event"] == "report_failed"
    assert logs[0]["error"] == "no report: nobody answers"


def test_without_history_there_is_no_report_and_no_second_attempt(reporter, metrics, tmp_path):
    made = reporter(f"import sys; sys.exit({schedule.EMPTY})")
    until_done(made, ReportConfig(path=tmp_path))
    reporter.later(2 * 3600)
    until_done(made, ReportConfig(path=tmp_path))
    assert outcomes(metrics) == {"empty": 1}


def test_a_child_that_hangs_is_ended_and_a_stop_leaves_none_behind(reporter, metrics, tmp_path):
    made = reporter("import time; time.sleep(600)")
    made.tick(ReportConfig(path=tmp_path))
    reporter.later(3600)
    until_done(made, ReportConfig(path=tmp_path))
    assert outcomes(metrics) == {"failed": 1}
    reporter.later(3700)
    made.tick(ReportConfig(path=tmp_path))
    process = made._child._process
    made.close()
    assert process.returncode is not None
    reporter.later(3700)
    made.tick(ReportConfig(path=tmp_path))
    assert made._child is None, "one begins after the stop"


def test_a_folder_that_cannot_be_is_a_failure_and_no_end_of_the_exporter(reporter, metrics, tmp_path):
    (tmp_path / "file").write_text("")
    with capture_logs() as logs:
        reporter(_WRITES).tick(ReportConfig(path=tmp_path / "file" / "reports"))
    assert outcomes(metrics) == {"failed": 1}
    assert "Not a directory" in logs[0]["error"]


def test_a_schedule_without_matplotlib_is_a_mistake_of_the_configuration(tmp_path, monkeypatch):
    file = tmp_path / "anomaly.yml"
    file.write_text("jobs: {a: {expr: up}}\nreport: {path: reports}\n")
    assert load(file, environ={}).config.report == ReportConfig(path=Path("reports"))
    monkeypatch.setattr("exporter.config.section_base.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'anomaly-exporter\[plot\]'"):
        load(file, environ={})


@pytest.mark.servers
@pytest.mark.slow
def test_a_running_exporter_makes_the_report_of_the_last_week_and_goes_on_judging(servers, tmp_path):
    now = time.time()
    times = [now - 600 * number for number in range(15 * 144, 0, -1)]
    labels = {"query": "a", "detector": "auto", "state": "ready"}
    history = openmetrics("anomaly_exporter_series", labels, times, [1.0] * len(times))
    backfill(tmp_path / "prometheus", history, longest_block="400h")
    folder = tmp_path / "reports"
    config = {
        "jobs": {"a": {"expr": "vector(1)", "step": "1s", "window": "60s", "history": "5m"}},
        "report": {"path": str(folder)},
    }
    with (
        PrometheusServer(tmp_path / "prometheus") as source,
        ExporterServer(tmp_path / "exporter", config | {"prometheus": {"url": source.url}}) as server,
    ):

        def reported() -> str | None:
            page = get(f"{server.url}/metrics", timeout=PATIENCE).text
            return page if 'reports_total{outcome="made"} 1.0' in page else print(server.log_tail(3))

        page = eventually(reported, every=1)
    assert 'cycles_total{outcome="success",query="a"}' in page
    [report] = folder.iterdir()
    assert report.name == file_name(last_period("weekly", now))
    assert "Anomalies: the week to" in report.read_text()

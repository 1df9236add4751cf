"""The product as its user sees it: real Prometheus in, score and flag out, scraped back."""

import json
import signal
import subprocess
import time

import pytest
import requests

from deploy.demo.servers import command, openmetrics
from tests.e2e.conftest import Page, during, soon
from tests.support.processes import pause, resume
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.servers

QUICK = {"step": "1s", "window": "30s", "max_age": "10s", "clear_after": "2s"}


def config(prometheus, jobs, deadline="30s", **more):
    source = {"url": prometheus.url, "deadline": deadline}
    return {"prometheus": source, "log": {"format": "json"}, "jobs": jobs, **more}


def history(names, seconds=60):
    """Return a minute of lines for the target's series, so that no test waits for a detector to warm up."""
    now = time.time()
    times = [now - seconds + n for n in range(seconds - 1)]
    for name in names:
        labels = {"name": name, "instance": "target", "job": "target"}
        yield from openmetrics("level", labels, times, [10 + 0.1 * (n % 7) for n in range(len(times))])


def watching(target):
    return {"static_configs": [{"targets": [target.address], "labels": {"instance": "target"}}]}


def post(url):
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, timeout=PATIENCE)


def test_node_exporter_is_judged_and_scraped_back(prometheus, node_exporter, exporter):
    """Labels survive the way there and back, and the page is clean."""
    source = prometheus(scrape={"node": node_exporter.address})
    source.wait_for("node_load1")
    jobs = {
        "memory": {"expr": "node_memory_MemAvailable_bytes", **QUICK},
        "modes": {"expr": "sum by (instance, mode) (node_cpu_seconds_total)", **QUICK},
    }
    ours = exporter(config(source, jobs))
    source.scrape = {
        "node": node_exporter.address,
        "anomaly": {"honor_labels": True, "static_configs": [{"targets": [ours.address]}]},
    }
    source.reload()
    found = source.wait_for('anomaly_score{query="modes", mode="idle"} >= 0')
    assert found[0]["metric"] == {
        "__name__": "anomaly_score",
        "instance": node_exporter.address,
        "mode": "idle",
        "query": "modes",
        "detector": "auto",
    }, "the aggregation left no job, and that of the scrape is not added"
    [memory] = source.wait_for('anomaly_lower{query="memory"}')
    assert memory["metric"]["job"] == "node"  # honor_labels: the source's job, not ours
    assert source.query('anomaly_flag{query="memory"}')
    page = Page(ours.url)
    assert page.one("anomaly_exporter_series", query="memory", state="ready") == 1
    assert page.one("anomaly_exporter_source_up", query="memory") == 1
    checked = subprocess.run(
        [command("promtool"), "check", "metrics"], input=page.text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_fault_is_flagged_while_it_lasts_and_cleared_after_it(prometheus, exporter, target):
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    source.wait_for("level")
    ours = exporter(config(source, {"level": {"expr": "level", **QUICK}}))
    eventually(lambda: (Page(ours.url).one("anomaly_score", name="a") or 9) < 1)
    target.series["a"] = 40.0
    soon(ours.url, "level", lambda: Page(ours.url).one("anomaly_flag", name="a") == 1, most=10)
    for page in during(ours.url, "level", 40):  # longer than the window of 30 s: the outage does not become normal
        assert page.one("anomaly_flag", name="a") == 1
        assert page.one("anomaly_score", name="a") > 1
    assert page.one("anomaly_flag", name="b") == 0
    assert page.one("anomaly_severity", name="a") > 0
    target.series["a"] = 10.0
    eventually(lambda: Page(ours.url).one("anomaly_flag", name="a") == 0)
    events = [json.loads(line) for line in ours.log.read_text().splitlines()]
    opened, closed = [e for e in events if e["event"] == "flag" and e["labels"]["name"] == "a"]
    assert (opened["incident"], closed["incident"]) == ("opened", "closed")
    assert opened["observed"] > opened["upper"] > opened["expected"]
    assert opened["job"] == "level"


def test_series_appear_and_vanish_while_running(prometheus, exporter, target):
    """Row 12: what is exposed is what is there."""
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    source.wait_for("level")
    ours = exporter(config(source, {"level": {"expr": "level", **QUICK}}))
    eventually(lambda: len(Page(ours.url).get("anomaly_score")) == 2)
    target.series["new"] = 5.0
    eventually(lambda: len(Page(ours.url).get("anomaly_score")) == 3)
    page = Page(ours.url)
    assert str(page.one("anomaly_score", name="new")) == "nan"  # warming up: never a healthy 0 …
    assert page.one("anomaly_exporter_series", query="level", state="warming") == 1  # … and it says so
    target.series["b"] = None
    eventually(lambda: Page(ours.url).one("anomaly_exporter_series", query="level", state="stale") == 1)
    assert str(Page(ours.url).one("anomaly_score", name="b")) == "nan"
    eventually(lambda: len(Page(ours.url).get("anomaly_score")) == 2)  # forgotten after a window
    assert Page(ours.url).one("anomaly_exporter_series", query="level", state="stale") == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_outage_of_two_minutes_withdraws_the_scores_and_is_not_flagged(prometheus, exporter, target, tmp_path):
    """Rows 1 and 46: kill -9, two minutes, start again."""
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab", seconds=300))
    source.wait_for("level")
    settings = {"step": "2s", "window": "4m", "max_age": "10s", "clear_after": "4s"}
    audit = tmp_path / "audit.csv"
    ours = exporter(config(source, {"level": {"expr": "level", **settings}}, audit={"path": str(audit)}))
    eventually(lambda: len(Page(ours.url).get("anomaly_score")) == 2)
    source.kill()
    killed = time.monotonic()
    eventually(lambda: Page(ours.url).one("anomaly_exporter_source_up", query="level") == 0)
    eventually(lambda: not Page(ours.url).get("anomaly_score"))
    withdrawn = time.monotonic() - killed
    while time.monotonic() < killed + 120:
        page = Page(ours.url)  # never an error, never a score, never a healthy-looking zero
        assert not page.get("anomaly_score")
        assert not page.get("anomaly_flag")
        assert page.one("anomaly_exporter_series", query="level", state="ready") in {0, None}
        time.sleep(2)
    source.start()
    eventually(lambda: len(Page(ours.url).get("anomaly_score")) == 2)
    for page in during(ours.url, "level", 10):
        assert not any(page.get("anomaly_flag").values())
    assert withdrawn < 60, "max_age is 10 s"
    assert Page(ours.url).get("anomaly_exporter_query_errors_total", query="level", reason="unreachable")
    assert not audit.exists()  # no flag ever changed


def test_a_frozen_source_costs_one_cycle_at_a_time_and_no_other_job(prometheus, exporter, target):
    """Row 2: it accepts connections and never answers. One job's failure never hurts another's."""
    target.series = {"a": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("a"))
    source.wait_for("level")
    jobs = {"level": {"expr": "level", **QUICK}, "bad": {"expr": "rate(level)", **QUICK}}
    ours = exporter(config(source, jobs, deadline="5s"))
    eventually(lambda: Page(ours.url).get("anomaly_score", query="level"))
    page = Page(ours.url)
    assert page.get("anomaly_exporter_query_errors_total", query="bad", reason="query_rejected")
    assert not page.get("anomaly_score", query="bad")
    pause(source)
    eventually(lambda: Page(ours.url).get("anomaly_exporter_query_errors_total", query="level", reason="deadline"))
    eventually(lambda: not Page(ours.url).get("anomaly_score"))
    resume(source)
    eventually(lambda: Page(ours.url).get("anomaly_score", query="level"))
    longest = [e["seconds"] for e in map(json.loads, ours.log.read_text().splitlines()) if e["event"] == "cycle"]
    assert max(longest) < 10, "a cycle waited for more than one deadline"


def test_a_bad_file_keeps_the_old_configuration_and_says_so(prometheus, exporter, target):
    """Row 31."""
    target.series = {"a": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("a"))
    source.wait_for("level")
    ours = exporter(config(source, {"level": {"expr": "level", **QUICK}}, web={"enable_reload": True}))
    eventually(lambda: Page(ours.url).get("anomaly_score"))
    file = ours.directory / "anomaly.yml"
    good = file.read_text()
    file.write_text(good.replace("window:", "windwo:"))
    answer = post(f"{ours.url}/-/reload")
    assert answer.status_code == 500
    assert "did you mean 'window'" in answer.text
    eventually(lambda: Page(ours.url).one("anomaly_exporter_config_last_reload_successful") == 0)
    assert Page(ours.url).get("anomaly_score")
    file.write_text(good.replace("level:", "renamed:", 1))
    ours._signal(signal.SIGHUP)
    eventually(lambda: Page(ours.url).get("anomaly_score", query="renamed"))
    page = Page(ours.url)
    assert page.one("anomaly_exporter_config_last_reload_successful") == 1
    assert not page.get("anomaly_score", query="level")
    # A cycle that was under way may count once more; a second after it has ended nothing is left.
    eventually(lambda: 'query="level"' not in Page(ours.url).text)


def test_a_reload_keeps_the_state_of_jobs_that_did_not_change(prometheus, exporter, target):
    target.series = {"a": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("a"))
    source.wait_for("level")
    ours = exporter(config(source, {"level": {"expr": "level", **QUICK}}, web={"enable_reload": True}))
    eventually(lambda: (Page(ours.url).one("anomaly_score", name="a") or 9) < 1)
    target.series["a"] = 40.0
    eventually(lambda: Page(ours.url).one("anomaly_flag", name="a") == 1)
    file = ours.directory / "anomaly.yml"
    file.write_text(file.read_text() + "limits: {series: 999}\n")
    assert post(f"{ours.url}/-/reload").ok
    for page in during(ours.url, "level", 3):
        assert page.one("anomaly_flag", name="a") == 1


def test_raw_counters_of_the_original_file_are_judged_as_rates(prometheus, exporter, target):
    """The original flat file; the metadata API knows that work_total is a counter and level a gauge."""
    target.series = {"a": 10.0}
    source = prometheus(scrape={"target": watching(target)})
    source.wait_for("rate(work_total[10s])")
    flat = {"prometheus_url": source.url, "metrics": ["work_total", "level"], "step": "1s", "window_minutes": 1}
    ours = exporter(flat | {"contamination": 0.01}, ready=False)

    def rated():
        return [e for e in map(json.loads, ours.log.read_text().splitlines()) if e["event"] == "counter_to_rate"]

    [event] = eventually(rated)
    assert event["judged"].startswith("rate(work_total[")


def test_a_stop_signal_writes_what_is_pending_and_ends_with_zero(prometheus, exporter, target, tmp_path):
    """Row 44, and kill -9 (e): every complete row is there, none is torn."""
    target.series = dict.fromkeys("abcdefgh", 10.0)
    source = prometheus(scrape={"target": watching(target)}, history=history("abcdefgh"))
    source.wait_for("level")
    audit = tmp_path / "audit.csv"
    settings = config(source, {"level": {"expr": "level", **QUICK}}, audit={"path": str(audit), "all_samples": True})
    first = exporter(settings)
    eventually(lambda: audit.exists() and audit.read_text().count("\n") > 30)
    first._signal(signal.SIGTERM)
    first._signal(signal.SIGTERM)
    assert first._process.wait(PATIENCE) == 0
    rows = audit.read_text()
    second = exporter(settings)
    for _ in range(3):
        time.sleep(1.5)
        second.kill()
        second.start()
    second.stop()
    after = audit.read_text()
    assert after.startswith(rows)
    widths = {line.count('"') % 2 for line in after.splitlines()}
    assert widths == {0}
    assert after.endswith("\n")
    import csv

    table = list(csv.reader(after.splitlines()))
    assert {len(row) for row in table} == {len(table[0])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"web": {"listen": "BUSY"}}, "another process has this port"),
        ({"jobs": {"level": {"expr": "level", "detector": "robst"}}}, "did you mean 'robust'"),
        ({"prometheus": {"url": "localhost:9090"}}, "http"),
    ],
)
def test_a_start_that_cannot_work_says_why_in_one_message(tmp_path, change, message):
    import socket
    import sys

    import yaml

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        if "web" in change:
            change = {"web": {"listen": f"127.0.0.1:{busy.getsockname()[1]}"}}
        file = tmp_path / "anomaly.yml"
        file.write_text(yaml.safe_dump({"jobs": {"level": {"expr": "level"}}} | change))
        done = subprocess.run(
            [sys.executable, "-m", "exporter", "run", "--config", str(file)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode in {1, 2}
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_instance_on_the_same_audit_file_is_refused(prometheus, exporter, target, tmp_path):
    target.series = {"a": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("a"))
    settings = config(source, {"level": {"expr": "level", **QUICK}}, audit={"path": str(tmp_path / "audit.csv")})
    exporter(settings, ready=False)
    from deploy.demo.servers import ServerError

    with pytest.raises(ServerError) as refused:
        exporter(settings, ready=False)
    assert "audit.csv" in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_an_open_incident_outlives_a_restart(prometheus, exporter, target, tmp_path):
    target.series = {"a": 10.0, "b": 10.0}
    source = prometheus(scrape={"target": watching(target)}, history=history("ab"))
    source.wait_for("level")
    settings = config(
        source, {"level": {"expr": "level", **QUICK}}, state={"path": str(tmp_path / "state"), "every": "1s"}
    )
    first = exporter(settings)
    eventually(lambda: (Page(first.url).one("anomaly_score", name="a") or 9) < 1)
    target.series["a"] = 40.0
    eventually(lambda: (Page(first.url).one("anomaly_severity", name="a") or 0) > 0.3)
    first.kill()
    severity = Page(exporter(settings).url).one("anomaly_severity", name="a")
    assert severity > 0.1  # what came since the last save, a second ago, is judged again
    assert "state_restored" in (tmp_path / "exporter-2" / "exporter.log").read_text()

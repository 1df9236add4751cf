"""What a report says of gaps, restarts and torn files."""

import os
from datetime import UTC, datetime

import numpy as np
import pytest

from exporter.config.sections.job import JobConfig
from exporter.config.sections.service import AuditConfig
from exporter.report.collect import _counter_growth
from exporter.report.data import JUDGED, SILENT, UNKNOWN, AuditTrail, Incident, Period
from exporter.report.incidents import bridged, with_audit
from exporter.report.prometheus_history import Series
from exporter.report.read_audit import read_audit
from exporter.report.text import lasting, percent
from exporter.sinks.audit_rows import HEADER

PERIOD = Period.until("week", datetime(2026, 3, 2, tzinfo=UTC).timestamp())


def mask(*spans):
    flags = np.zeros(40, np.bool_)
    for first, last in spans:
        flags[first:last] = True
    return flags


def test_time_without_a_verdict_does_not_make_two_incidents_of_one_but_a_healthy_minute_does():
    states = np.full(40, JUDGED, np.int8)
    states[10:12], states[20:24] = UNKNOWN, SILENT
    assert bridged(mask((5, 10), (12, 15)), states) == [(5, 15, True)]
    assert bridged(mask((18, 20), (24, 30)), states) == [(18, 30, True)]
    assert bridged(mask((5, 10), (13, 15)), states) == [(5, 10, False), (13, 15, False)]
    assert bridged(mask(), states) == []


@pytest.mark.parametrize(
    ("values", "first", "grown"),
    [
        ([7, 7, 9, 12], 0, 5),  # what it stood at before the period does not count
        ([7, 2, 3], 0, 3),  # a restart of the exporter begins at zero
        ([4, 4], 30, 4),  # appeared while its job was known
    ],
)
def test_counters_count_what_they_grew_over_restarts_of_the_exporter(values, first, grown):
    times = PERIOD.start + 3600.0 * np.arange(first + 1, first + 1 + len(values))
    labels = {"__name__": "anomaly_exporter_retrains_total", "query": "a", "outcome": "promoted"}
    states = np.full(len(PERIOD.times), JUDGED, np.int8)
    counts, events = _counter_growth([Series(labels, times, np.array(values, float))], states, PERIOD)
    assert counts == {("retrains", "promoted"): grown}
    assert {what for _, what in events} == {"retrain promoted"}


def row(seconds, flag, job="a", labels='"{""query"": ""x""}"'):
    stamp = datetime.fromtimestamp(PERIOD.start + seconds, UTC).isoformat(timespec="milliseconds")
    return f"{stamp.replace('+00:00', 'Z')},{job},{labels},value,1,1,0,2,,3,{flag},auto,,abc\n".encode()


def test_rotated_audit_files_are_read_as_one_and_what_is_torn_or_strange_is_counter_growth(tmp_path):
    path = tmp_path / "audit.csv"
    (tmp_path / "audit.csv.1").write_bytes(HEADER + row(0, 1) + row(60, 1) + b"2026,short\n")
    path.write_bytes(
        HEADER + row(120, 1) + row(180, 0) + row(200, 7) + row(240, 1, labels="no json") + row(9000, 1)
        + row(-60, 1) + row(0, 1, job="other") + row(1, 1)[:30]
    )  # fmt: skip
    trail = read_audit(AuditConfig(path=path), ["a"], PERIOD)
    begin = PERIOD.start
    assert trail.intervals == {"a": {(("query", "x"),): [(begin, begin + 180), (begin + 9000, begin + 9000)]}}
    assert trail.note == f"Torn or strange rows of the audit file {path}, left out: 4."


def test_an_audit_file_from_before_the_period_is_not_read(tmp_path):
    path = tmp_path / "audit.csv"
    path.write_bytes(HEADER)
    old = tmp_path / "audit.csv.1"
    old.write_bytes(b"not even a header\n")
    os.utime(old, (PERIOD.start - 60, PERIOD.start - 60))
    assert read_audit(AuditConfig(path=path), ["a"], PERIOD) == AuditTrail()


def test_entities_of_the_audit_file_are_found_under_the_labels_that_scraping_added():
    """A label called `query` is published as `exported_query`; Prometheus adds instance and job of our own page."""
    key = (("exported_query", "x"), ("instance", "exporter:9877"), ("job", "anomaly-exporter"))
    known = Incident(job="a", key=key, start=PERIOD.start + 600, end=PERIOD.start + 1200)
    trail = AuditTrail(intervals={"a": {(("query", "x"),): [(PERIOD.start + 660.0, PERIOD.start + 1140.0)]}})
    [found] = with_audit([known], trail, {"a": JobConfig(expr="up")}, PERIOD)
    assert (found.start, found.end, found.source) == (PERIOD.start + 660, PERIOD.start + 1140, "both")


def test_almost_is_not_all():
    assert [percent(share) for share in (0, 0.001, 0.5, 0.9999, 1)] == [
        "0 %", "under 1 %", "50 %", "over 99 %", "100 %",
    ]  # fmt: skip
    assert [lasting(seconds) for seconds in (20, 300, 3600, 7500, 90_000, 86_400 * 7)] == [
        "less than a minute", "5 min", "1 h", "2 h 5 min", "1 d 1 h", "7 d",
    ]  # fmt: skip

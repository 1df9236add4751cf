"""What a report says of gaps, restarts and torn files."""

import os
from datetime import UTC, datetime

import numpy as np
import pytest

from detectors.units import DAY, HOUR
from exporter.config.sections.job import JobConfig
from exporter.config.sections.service import AuditConfig
from exporter.report.collect import _counter_growth
from exporter.report.data import JUDGED, SILENT, UNKNOWN, Incident, Period, ReportError
from exporter.report.incidents import bridged, with_audit
from exporter.report.prometheus_history import Series
from exporter.report.read_audit import AuditTrail, Flagged, read_audit
from exporter.report.text import lasting, percent, when
from exporter.sinks.audit_rows import EARLIER, HEADER

PERIOD = Period.until("week", datetime(2026, 3, 2, tzinfo=UTC).timestamp())


def always(state):
    return np.full(len(PERIOD.times), state, np.int8)


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
    return f"{stamp.replace('+00:00', 'Z')},{job},{labels},value,1,1,0,2,,3,{flag},auto,,abc,,,,,,,,\n".encode()


def test_rotated_audit_files_are_read_as_one_and_what_is_torn_or_strange_is_counter_growth(tmp_path):
    path = tmp_path / "audit.csv"
    (tmp_path / "audit.csv.1").write_bytes(HEADER + row(-60, 1) + row(0, 1) + row(60, 1) + b"2026,short\n")
    path.write_bytes(
        HEADER + row(120, 1) + row(180, 0) + row(200, 7) + row(240, 1, labels="no json") + row(9000, 1)
        + row(0, 1, job="other") + row(1, 1)[:30]
    )  # fmt: skip
    trail = read_audit(AuditConfig(path=path), ["a"], PERIOD)
    begin = PERIOD.start
    assert trail.intervals == {
        "a": {(("query", "x"),): [(begin - 60, begin + 180, True, ""), (begin + 9000, begin + 9000, False, "")]}
    }
    assert trail.note == f"Torn or strange rows of the audit file {path}, left out: 4."


def test_an_audit_file_from_long_before_the_period_is_not_read(tmp_path):
    path = tmp_path / "audit.csv"
    path.write_bytes(HEADER)
    old = tmp_path / "audit.csv.1"
    old.write_bytes(b"not even a header\n")
    os.utime(old, (PERIOD.start - 8 * DAY, PERIOD.start - 8 * DAY))
    assert read_audit(AuditConfig(path=path), ["a"], PERIOD) == AuditTrail()


def test_entities_of_the_audit_file_are_found_under_the_labels_that_scraping_added():
    """A label called `query` is published as `exported_query`; Prometheus adds instance and job of our own page."""
    key = (("exported_query", "x"), ("instance", "exporter:9877"), ("job", "anomaly-exporter"))
    known = Incident(job="a", key=key, start=PERIOD.start + 600, end=PERIOD.start + 1200)
    trail = AuditTrail(intervals={"a": {(("query", "x"),): [Flagged(PERIOD.start + 660.0, PERIOD.start + 1140.0)]}})
    [found] = with_audit([known], trail, {"a": JobConfig(expr="up")}, {"a": always(JUDGED)}, PERIOD)
    assert (found.start, found.end, found.source) == (PERIOD.start + 660, PERIOD.start + 1140, "both")


def test_a_report_says_after_which_deploy_an_incident_began_and_reads_files_of_before_that_was_known(tmp_path):
    path = tmp_path / "audit.csv"
    rows = [row(600, 1), row(660, 1).replace(b",abc,,,,,", b",abc,,,,,12 min after cart v2"), row(720, 0)]
    path.write_bytes(HEADER + b"".join(rows))
    older = [each.replace(b",abc,,,,,,,,\n", b",abc\n") for each in (row(0, 1), row(60, 0))]
    (tmp_path / "audit.csv.1").write_bytes(next(iter(EARLIER)) + b"".join(older))
    trail = read_audit(AuditConfig(path=path), ["a"], PERIOD)
    first, second = with_audit([], trail, {"a": JobConfig(expr="up")}, {"a": always(JUDGED)}, PERIOD)
    assert (first.deploy, second.deploy) == ("", "12 min after cart v2")


def told(tmp_path, states, *rows, known=()):
    """Return how the incidents are told of an audit file with rows of (seconds after the beginning, flag)."""
    path = tmp_path / "audit.csv"
    path.write_bytes(HEADER + b"".join(row(*each) for each in rows))
    trail = read_audit(AuditConfig(path=path), ["a"], PERIOD)
    found = with_audit(list(known), trail, {"a": JobConfig(expr="up")}, {"a": states}, PERIOD)
    return [when(incident).removesuffix(" (known from the audit file only)") for incident in found]


END = PERIOD.end - PERIOD.start
ONLY = (("exported_query", "x"),)


def flagged(first, last, every=600):
    """Return a row every ten minutes in which the entity is flagged."""
    return [(seconds, 1) for seconds in range(int(first), int(last), every)]


@pytest.mark.parametrize("state", [UNKNOWN, JUDGED])
def test_an_incident_that_only_the_audit_file_knows_is_open_until_a_row_ends_it(tmp_path, state):
    states = always(state)
    assert told(tmp_path, states, *flagged(-2 * DAY, END)) == [
        "9 d, since 2026-02-21 00:00 UTC, still open at the end of the period"
    ]
    assert told(tmp_path, states, *flagged(6 * DAY, END)) == [
        "1 d, from 2026-03-01 00:00 UTC, still open at the end of the period"
    ]
    assert told(tmp_path, states, *flagged(-2 * DAY, DAY), (DAY, 0)) == [
        "3 d, since 2026-02-21 00:00 UTC to 2026-02-24 00:00 UTC"
    ]
    assert told(tmp_path, states, *flagged(-2 * DAY, -DAY), (-DAY, 0)) == []


def test_an_incident_without_an_end_is_open_when_it_was_last_seen(tmp_path):
    """The exporter stopped or restarted without its state: nobody knows how it went on."""
    rows = flagged(-HOUR, DAY)
    last = "still open when it was last seen: 2026-02-23 23:50 UTC"
    assert told(tmp_path, always(UNKNOWN), *rows) == [f"7 d 1 h, since 2026-02-22 23:00 UTC, {last}"]
    assert told(tmp_path, always(JUDGED), *rows) == [f"1 d, since 2026-02-22 23:00 UTC, {last}"]
    only_before = told(tmp_path, always(JUDGED), *flagged(-2 * DAY, -DAY))
    assert only_before == ["2 d, since 2026-02-21 00:00 UTC, still open when it was last seen: 2026-02-21 23:50 UTC"]
    assert told(tmp_path, always(JUDGED), *flagged(-9 * DAY, -8 * DAY)) == [], "forgotten: it would be told for ever"


def test_one_incident_goes_on_over_a_restart_unless_the_job_was_judged_in_between(tmp_path):
    rows = *flagged(-HOUR, DAY), *flagged(2 * DAY, END)
    across = "7 d 1 h, since 2026-02-22 23:00 UTC, still open at the end of the period (across a gap in what is known; "
    [whole] = told(tmp_path, always(UNKNOWN), *rows)
    assert whole.startswith(across)
    first, second = told(tmp_path, always(JUDGED), *rows)
    assert first == "1 d, since 2026-02-22 23:00 UTC, still open when it was last seen: 2026-02-23 23:50 UTC"
    assert second == "5 d, from 2026-02-25 00:00 UTC, still open at the end of the period"


def test_the_audit_file_opens_what_prometheus_lost_sight_of(tmp_path):
    """Prometheus did not scrape at the beginning and at the end; what it did see it does not deny."""
    states = always(JUDGED)
    states[:100] = states[-100:] = UNKNOWN
    known = Incident(job="a", key=ONLY, start=PERIOD.start + 100 * 300, end=PERIOD.end - 100 * 300, alerted=True)
    assert told(tmp_path, states, *flagged(-DAY, END), known=[known]) == [
        "8 d, since 2026-02-22 00:00 UTC, still open at the end of the period"
    ]
    assert (known.source, known.alerted, known.still_open) == ("both", True, True)
    known = Incident(job="a", key=ONLY, start=PERIOD.start + 3600, end=PERIOD.start + 7200)
    told(tmp_path, always(JUDGED), *flagged(-DAY, END), known=[known])
    assert known.end == PERIOD.start + 7200, "judged and not flagged"


def test_a_period_is_a_length_up_to_its_end_or_a_day_of_the_calendar():
    noon = datetime(2026, 11, 28, 12, 2, tzinfo=UTC).timestamp()
    midnight = datetime(2026, 11, 28, tzinfo=UTC).timestamp()
    for name, hours in (("day", 24), ("1d", 24), ("36h", 36), ("week", 168), ("2w", 336)):
        period = Period.until(name, noon)
        assert (period.name, period.end - period.start) == (name, hours * HOUR)
        assert len(period.times) * period.step == hours * HOUR
    for name, start, end in (
        ("yesterday", midnight - DAY, midnight),
        ("2026-11-27", midnight - DAY, midnight),
        ("2026-11-28", midnight, midnight + 12 * HOUR),
    ):
        period = Period.on(name, noon)
        assert (period.name, period.start, period.end) == ("day", start, end)
    assert Period.on("week", noon) is None
    for make, text in (
        (Period.until, "year"),
        (Period.until, "5m"),
        (Period.on, "2026-02-30"),
        (Period.on, "2026-11-29"),
    ):
        with pytest.raises(ReportError, match=f"--period {text}"):
            make(text, noon)


def test_almost_is_not_all():
    assert [percent(share) for share in (0, 0.001, 0.5, 0.9999, 1)] == [
        "0 %", "under 1 %", "50 %", "over 99 %", "100 %",
    ]  # fmt: skip
    assert [lasting(seconds) for seconds in (20, 300, 3600, 7500, 90_000, 86_400 * 7)] == [
        "less than a minute", "5 min", "1 h", "2 h 5 min", "1 d 1 h", "7 d",
    ]  # fmt: skip

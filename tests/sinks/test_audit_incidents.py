"""Past incidents from the audit file, where no folder keeps them."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import structlog

from exporter.config.sections.root import Config
from exporter.config.sections.service import AuditConfig, StateConfig
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.audit import AuditSink
from exporter.sinks.audit_incidents import incidents_of_audit
from exporter.sinks.audit_rows import EARLIER, HEADER
from exporter.sinks.incident_log import IncidentLog
from tests.support.streams import streams
from tests.support.verdicts import key, verdict

A, B = key(instance="a"), key(instance='=b,"\n')
NOW = 1_800_000_000.0


def written(tmp_path, minutes, flagged, keys=(A, B), start=NOW - 86_400, evidence=False):
    """Write an audit file: `flagged(minute)` tells which series have an incident."""
    config = Config.model_validate(
        {"jobs": {"cpu": {"expr": "x_bytes"}}, "audit": {"path": str(tmp_path / "audit.csv")}}
    )
    sink, before = AuditSink(SelfMetrics()), np.zeros(len(keys), bool)
    sink.prepare(config).commit()
    sink.start()
    for minute in range(minutes):
        flag = np.array(flagged(minute))
        score = np.where(flag, 2.0 + minute / 100, 0.5)
        made = verdict(keys, flag=flag, changed=flag != before, score=score, expected=np.full((len(keys), 1), 5.0))
        if evidence and flag.any():
            size, period = {"value now": -6.25, "10-minute mean": -4.125}, {"10-minute mean": 604_800.0}
            made = replace(made, streams=streams(np.flatnonzero(flag), size, period))
        sink.record(replace(made, time=start + 60.0 * minute))
        before = flag
    sink.close(5.0)
    return config


def test_incidents_come_back_with_beginning_end_and_worst_reading(tmp_path):
    config = written(tmp_path, 60, lambda minute: [10 <= minute < 20, minute >= 30])
    log = IncidentLog()
    log.prepare(config).commit()
    log.began = NOW
    log.read_audit()
    second, first = log.past()
    begin = NOW - 86_400
    assert (first.incident.labels, first.incident.since, first.incident.over) == (
        {"instance": "a"}, begin + 600, begin + 1200,
    )  # fmt: skip
    assert (first.ending, first.audited, first.alerted) == ("recovered", True, False)
    assert (first.incident.at, first.incident.score) == (begin + 1140, pytest.approx(2.19))
    [channel] = first.incident.channels
    assert (channel.observed, channel.expected, channel.unit) == (1.5, 5.0, "bytes")
    assert second.incident.labels == dict(B)
    assert second.ending == "unknown", "no row says that it has ended"
    assert log.find("cpu", A, begin + 400) is first, "a link from before names the beginning, not the first row"


def test_an_hour_of_silence_ends_an_incident_unseen(tmp_path):
    minutes = {*range(10), *range(200, 210)}
    config = written(tmp_path, 210, lambda minute: [minute in minutes], keys=(A,))
    text = (tmp_path / "audit.csv").read_bytes().splitlines(keepends=True)
    kept = [line for line in text if b",0," not in line.split(b"}")[-1]]
    (tmp_path / "audit.csv").write_bytes(b"".join(kept))
    found = incidents_of_audit(config.audit, {}, NOW)
    assert [(incident.since, seen) for incident, seen in found] == [
        (NOW - 86_400, False),
        (NOW - 86_400 + 12_000, False),
    ]


def test_torn_and_strange_rows_are_left_out_and_said(tmp_path):
    config = written(tmp_path, 30, lambda minute: [10 <= minute < 20, False])
    with (tmp_path / "audit.csv").open("ab") as file:
        file.write(b'nonsense,cpu\n2026-01-01T00:00:00Z,cpu,"[1]",value,1,1,1,1,1,3,1,a,b,c\ntorn')
    with structlog.testing.capture_logs() as logs:
        found = incidents_of_audit(config.audit, {}, NOW)
    assert len(found) == 1
    [line] = [line for line in logs if line["event"] == "audit_rows_left_out"]
    assert line["rows"] == 3


def test_no_file_and_a_file_of_something_else_are_no_incidents(tmp_path):
    assert incidents_of_audit(AuditConfig(path=tmp_path / "none.csv"), {}, NOW) == []
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert incidents_of_audit(AuditConfig(path=tmp_path / "other.csv"), {}, 0.0) == []


def test_with_a_state_folder_the_audit_file_is_not_read(tmp_path):
    config = written(tmp_path, 30, lambda minute: [10 <= minute < 20, False])
    log = IncidentLog()
    log.prepare(config.model_copy(update={"state": StateConfig(path=tmp_path / "state")})).commit()
    log.read_audit()
    assert log.past() == []


def test_the_evidence_comes_back_with_the_worst_reading_and_rows_of_the_version_before_are_read(tmp_path):
    config = written(tmp_path, 30, lambda minute: [10 <= minute < 20, False], evidence=True)
    (incident, _seen) = incidents_of_audit(config.audit, {}, NOW)[0]
    assert [(each.name, each.size, each.every) for each in incident.streams] == [
        ("10-minute mean", -4.12, 605_000.0),
        ("value now", -6.25, None),
    ]
    path = tmp_path / "audit.csv"
    whole = path.read_bytes()
    path.write_bytes(b"".join(_as_before(line) for line in whole.splitlines(keepends=True)))
    (before, _seen) = incidents_of_audit(config.audit, {}, NOW)[0]
    assert (before.since, before.over, before.score, before.streams) == (
        incident.since,
        incident.over,
        incident.score,
        [],
    )


FEWEST = min(EARLIER.values())


def _as_before(line: bytes, count: int = FEWEST) -> bytes:
    """Return a line as an earlier version wrote it, with so many columns."""
    (cells,) = csv.reader([line.decode()])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells[:count])
    return out.getvalue().encode()


@pytest.mark.parametrize("count", EARLIER.values())
def test_a_file_of_a_version_before_is_rotated_and_stays_readable(count, tmp_path):
    config = written(tmp_path, 20, lambda minute: [10 <= minute < 15, False])
    path = tmp_path / "audit.csv"
    path.write_bytes(b"".join(_as_before(line, count) for line in path.read_bytes().splitlines(keepends=True)))
    written(tmp_path, 20, lambda minute: [10 <= minute < 15, False], start=NOW - 40_000)
    assert path.read_bytes().startswith(HEADER)
    assert not list(tmp_path.glob("*.other-*"))
    assert len(incidents_of_audit(config.audit, {}, NOW)) == 2

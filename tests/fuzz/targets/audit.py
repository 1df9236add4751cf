"""The audit file: what a report and the page read back from it."""

import atexit
import tempfile
from pathlib import Path

from exporter.config.sections.service import AuditConfig
from exporter.report.data import Period
from exporter.report.read_audit import read_audit
from exporter.sinks.audit_files import decoded
from exporter.sinks.audit_incidents import incidents_of_audit
from exporter.sinks.audit_rows import COLUMNS, EARLIER, HEADER, streams_of_cell

OURS = ()  # it never raises: what it cannot read is counted
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-audit")
atexit.register(_FOLDER.cleanup)
_ROW = (
    b'2026-01-05T10:06:00.000Z,cpu,"{""instance"": ""a""}",,9.5,5.0,4.0,6.0,1.0,4.2,%d,auto,,abc,fast,4.2,60,'
    b'"{""fast"": [4.2, ""above"", 60, """", 7, ""1 2 3"", ""rack a""]}",2 min after api,2026-01-06T10:06:00.000Z,inf,inf\n'
)
_NEXT = _ROW.replace(b"10:06", b"10:07")
SEEDS = (
    HEADER + _ROW % 1 + _NEXT % 0,
    next(iter(EARLIER)) + b'2026-01-05T10:06:00.000Z,cpu,"{""instance"": ""a""}",,9.5,5.0,4.0,6.0,1.0,4.2,1,auto,,abc\n',
    HEADER + _ROW % 1 + (_NEXT % 1)[:60],
    HEADER + (_ROW % 1).replace(b"2026-01-05T10:06:00.000Z", b"0001-01-01T00:00:00+23:59") + _NEXT % 0,
    HEADER + (_ROW % 1).replace(b"{", b"[" * 3000) + _NEXT % 0,
)  # fmt: skip
assert len(COLUMNS) == 22


def read(data: bytes) -> None:
    path = Path(_FOLDER.name) / "audit.csv"
    path.write_bytes(data)
    config = AuditConfig(path=path)
    period = Period("day", 1767600000.0, 1767700000.0, 60.0)
    trail = read_audit(config, ["cpu"], period)
    assert trail.rows >= 0
    incidents_of_audit(config, {}, 1767700000.0)
    text = data.decode("utf-8", "replace")
    decoded("cpu", text)
    streams_of_cell(text)

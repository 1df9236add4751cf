"""The audit file moved, deleted, replaced, slow, locked, full (docs/reliability.md, rows 22 to 24)."""

import csv
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config.sections.service import AuditConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks import audit as audits
from exporter.sinks.audit import Audit, AuditError
from exporter.sinks.audit_rows import HEADER
from tests.support.verdicts import key, verdict
from tests.support.waiting import eventually

Open = Callable[..., tuple[Audit, SelfMetrics]]


@pytest.fixture
def open_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open an audit file in tmp_path that tries again quickly; closed in the end."""
    monkeypatch.setattr(audits, "RETRY_SECONDS", 0.02)
    opened = []

    def start(path: Path = tmp_path / "audit.csv", **options: Any) -> tuple[Audit, SelfMetrics]:
        metrics = SelfMetrics()
        audit = Audit(AuditConfig(path=path, **{"all_samples": True} | options), metrics)
        opened.append(audit)
        return audit, metrics

    yield start
    for audit in opened:
        audit.close(10)


def numbered(first: int, count: int = 1) -> Verdict:
    """Return a verdict whose rows hold the values first, first + 1, …"""
    keys = tuple(key(pod=f"pod-{n}") for n in range(count))
    return replace(verdict(keys, values=[[first + n] for n in range(count)]), time=1767607200.0)


def values(*paths: Path) -> list[float]:
    """Return the values in whole files, each checked for its header and for being whole."""
    found = []
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(HEADER)
        assert content.count(HEADER) == 1
        assert content.endswith(b"\n")
        with path.open(newline="") as file:
            found += [float(row["value"]) for row in csv.DictReader(file, strict=True)]
    return found


def value(metrics: SelfMetrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"anomaly_exporter_audit_{name}_total") or 0.0


def test_verdicts_become_rows_under_one_header(open_audit: Open, tmp_path: Path) -> None:
    audit, metrics = open_audit()
    for n in range(10):
        audit.write(numbered(n))
    audit.close(10)
    assert values(tmp_path / "audit.csv") == list(range(10))
    audit, _ = open_audit()
    audit.write(numbered(10, 3))
    audit.close(10)
    assert values(tmp_path / "audit.csv") == list(range(13))
    assert value(metrics, "rows") == 10


def test_a_verdict_without_rows_leaves_no_trace(open_audit: Open, tmp_path: Path) -> None:
    audit, _ = open_audit(all_samples=False)
    audit.write(numbered(0, 100))
    audit.close(10)
    assert not (tmp_path / "audit.csv").exists()


def test_a_full_file_is_rotated_and_old_ones_go(open_audit: Open, tmp_path: Path) -> None:
    audit, metrics = open_audit(max_size=5000, keep=3)
    for n in range(0, 400, 10):
        audit.write(numbered(n, 10))
        eventually(lambda wanted=n + 10: value(metrics, "rows") == wanted)
    audit.close(10)
    paths = [tmp_path / f"audit.csv{end}" for end in (".3", ".2", ".1", "")]
    assert {path.name for path in tmp_path.iterdir()} == {*(path.name for path in paths), "audit.csv.lock"}
    kept = values(*paths)
    assert kept == list(range(400 - len(kept), 400))
    assert all(path.stat().st_size <= 5000 for path in paths)
    assert all(path.stat().st_size > 2500 for path in paths[:3])


def test_a_rotation_without_keeping_starts_over(open_audit: Open, tmp_path: Path) -> None:
    audit, _ = open_audit(max_size=5000, keep=0)
    audit.write(numbered(0, 200))
    audit.close(10)
    assert {path.name for path in tmp_path.iterdir()} == {"audit.csv", "audit.csv.lock"}
    assert values(tmp_path / "audit.csv")[-1] == 199


def test_a_rotation_cut_short_loses_no_file(open_audit: Open, tmp_path: Path) -> None:
    """Row 24: killed after .1 became .2 and before the file became .1."""
    audit, _ = open_audit(max_size=5000, keep=3)
    audit.write(numbered(0, 130))
    audit.close(10)
    (tmp_path / "audit.csv.2").rename(tmp_path / "audit.csv.3")
    (tmp_path / "audit.csv.1").rename(tmp_path / "audit.csv.2")
    before = values(*(tmp_path / f"audit.csv{end}" for end in (".3", ".2", "")))
    audit, _ = open_audit(max_size=5000, keep=3)
    audit.write(numbered(130, 30))
    audit.close(10)
    after = values(*(tmp_path / f"audit.csv{end}" for end in (".3", ".2", ".1", "")))
    assert after == [*before, *range(130, 160)]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_row_is_cut_off_at_the_next_start(cut: int, open_audit: Open, tmp_path: Path) -> None:
    """Row 24."""
    path = tmp_path / "audit.csv"
    audit, _ = open_audit()
    audit.write(numbered(0, 3))
    audit.close(10)
    os.truncate(path, path.stat().st_size - cut)
    audit, _ = open_audit()
    audit.write(numbered(7))
    audit.close(10)
    assert values(path) == [0, 1, 7]


@pytest.mark.parametrize("size", [1, 50, len(HEADER) - 1])
def test_a_torn_header_is_written_anew(size: int, open_audit: Open, tmp_path: Path) -> None:
    """Row 24."""
    (tmp_path / "audit.csv").write_bytes(HEADER[:size])
    audit, _ = open_audit()
    audit.write(numbered(7))
    audit.close(10)
    assert values(tmp_path / "audit.csv") == [7]


@pytest.mark.parametrize("foreign", [b"time,job\n2026,a\n", b"notes of somebody, without a last newline"])
def test_a_file_with_other_columns_is_set_aside_untouched(foreign: bytes, open_audit: Open, tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_bytes(foreign)
    audit, _ = open_audit()
    audit.write(numbered(7))
    audit.close(10)
    assert values(tmp_path / "audit.csv") == [7]
    (aside,) = tmp_path.glob("audit.csv.other-*")
    assert aside.read_bytes() == foreign


@pytest.mark.parametrize("change", ["deleted", "moved", "replaced", "truncated"])
def test_a_file_changed_under_us_is_opened_again_with_its_header(change: str, open_audit: Open, tmp_path: Path) -> None:
    """Row 23."""
    path, moved = tmp_path / "audit.csv", tmp_path / "moved.csv"
    audit, metrics = open_audit()
    audit.write(numbered(0, 5))
    eventually(lambda: value(metrics, "rows") == 5)
    match change:
        case "deleted":
            path.unlink()
        case "moved":  # logrotate
            path.rename(moved)
        case "replaced":
            path.rename(moved)
            path.write_bytes(b"")
        case "truncated":  # logrotate with copytruncate
            moved.write_bytes(path.read_bytes())
            os.truncate(path, 0)
    audit.write(numbered(5, 5))
    eventually(lambda: value(metrics, "rows") == 10)
    assert values(path) == [5, 6, 7, 8, 9]
    if change != "deleted":
        assert values(moved) == [0, 1, 2, 3, 4]
    assert value(metrics, "write_errors") == 0


@pytest.mark.parametrize("trouble", ["folder missing", "folder deleted", "a link", "a FIFO", "a folder"])
def test_rows_wait_until_the_file_can_be_written_and_one_line_says_so(
    trouble: str, open_audit: Open, tmp_path: Path
) -> None:
    """Row 23: scoring goes on, each try is counted, each change of condition is one line."""
    folder = tmp_path / "logs"
    path = folder / "audit.csv"
    match trouble:
        case "folder missing" | "folder deleted":
            pass
        case "a link":
            folder.mkdir()
            path.symlink_to(tmp_path / "elsewhere")
        case "a FIFO":
            folder.mkdir()
            os.mkfifo(path)
        case "a folder":
            path.mkdir(parents=True)
    if trouble == "folder deleted":
        folder.mkdir()
    with capture_logs() as logged:
        audit, metrics = open_audit(path)
        if trouble == "folder deleted":
            audit.write(numbered(-1))
            eventually(lambda: value(metrics, "rows") == 1)
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        before = value(metrics, "rows")
        for n in range(20):
            audit.write(numbered(n))
        eventually(lambda: value(metrics, "write_errors") >= 5)
        assert value(metrics, "rows") == before
        if path.is_dir():
            path.rmdir()  # and not a word more: the rows may be in the file a moment later
        else:
            path.unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
        eventually(lambda: value(metrics, "rows") == before + 20)
        audit.close(10)
    assert values(path) == list(range(20))
    assert value(metrics, "rows_lost") == 0
    events = [line["event"] for line in logged]
    assert events == ["audit_write_failed", "audit_recovered"]
    assert str(path) in logged[0]["path"]
    assert not (tmp_path / "elsewhere").exists()


def test_rows_beyond_the_bound_are_given_up_and_counted(
    open_audit: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 22: memory has an end too; the beginning of an incident is kept."""
    row = len(HEADER)  # about
    monkeypatch.setattr(audits, "PENDING_LIMIT", 100 * row)
    audit, metrics = open_audit(tmp_path / "logs" / "audit.csv")
    with capture_logs() as logged:
        for n in range(0, 1000, 10):
            audit.write(numbered(n, 10))
        lost = value(metrics, "rows_lost")
        assert 0 < lost < 1000
        (tmp_path / "logs").mkdir()
        eventually(lambda: value(metrics, "rows") == 1000 - lost)
        audit.write(numbered(5000))
        audit.close(10)
    assert values(tmp_path / "logs" / "audit.csv") == [*range(1000 - int(lost)), 5000]
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["audit_rows_lost"]


def test_rows_that_cannot_be_written_before_closing_are_counted(open_audit: Open, tmp_path: Path) -> None:
    audit, metrics = open_audit(tmp_path / "logs" / "audit.csv")
    audit.write(numbered(0, 7))
    audit.close(10)
    audit.write(numbered(7, 2))
    assert value(metrics, "rows_lost") == 9


def test_a_slow_disk_never_makes_a_cycle_wait(
    open_audit: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk hangs, verdicts go on; close() gives up in time, and nothing is lost once the disk is back."""
    go, stuck = threading.Event(), threading.Event()
    real = os.write

    def hang(fd: int, data: bytes) -> int:
        if threading.current_thread().name == "audit":
            stuck.set()
            assert go.wait(60)
        return real(fd, data)

    monkeypatch.setattr(os, "write", hang)
    audit, metrics = open_audit()
    for n in range(500):
        audit.write(numbered(n))
    assert stuck.wait(20)
    audit.write(numbered(500))
    assert value(metrics, "rows") == 0
    go.set()
    audit.close(20)
    assert values(tmp_path / "audit.csv") == list(range(501))

    go.clear()
    stuck.clear()
    audit, metrics = open_audit(tmp_path / "second.csv")
    audit.write(numbered(0))
    assert stuck.wait(20)
    audit.close(0.05)
    assert value(metrics, "rows_lost") == 1
    go.set()


def test_a_short_write_keeps_whole_rows_only(open_audit: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 22: the disk takes any part of a batch, at every boundary."""
    real, left, full = os.write, iter(range(1, 4000, 37)), 28

    def short(fd: int, data: bytes) -> int:
        if threading.current_thread().name != "audit":
            return real(fd, data)
        room = next(left, None)
        if room is not None and room % 2:
            raise OSError(full, "No space left on device")
        return real(fd, data if room is None else data[:room])

    monkeypatch.setattr(os, "write", short)
    audit, metrics = open_audit()
    audit.write(numbered(0, 300))
    eventually(lambda: value(metrics, "rows") == 300)
    assert values(tmp_path / "audit.csv") == list(range(300))
    assert value(metrics, "write_errors") > 20


HOLD = """
import sys, time
from exporter.sinks.audit import Audit
from exporter.config.sections.service import AuditConfig
from exporter.observe.metrics import SelfMetrics
Audit(AuditConfig(path=sys.argv[1]), SelfMetrics())
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_instance_is_told_who_has_the_file(tmp_path: Path, open_audit: Open) -> None:
    """Row 49. The lock ends with its holder, however that ends."""
    path = tmp_path / "audit.csv"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(AuditError, match=rf"audit file .*audit.csv is in use: process {holder.pid} holds"):
                open_audit()
        finally:
            holder.kill()
    audit, _ = open_audit()
    audit.write(numbered(1))
    audit.close(10)
    assert values(path) == [1]


def test_a_deleted_lock_is_taken_again(tmp_path: Path, open_audit: Open) -> None:
    """Row 49: whoever cleans up the folder must not let a second instance in."""
    audit, metrics = open_audit()
    lock = tmp_path / "audit.csv.lock"
    lock.unlink()
    audit.write(numbered(0))
    eventually(lambda: value(metrics, "rows") == 1)
    with lock.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

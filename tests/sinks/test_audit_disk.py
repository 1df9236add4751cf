"""Real disks that are full or read-only, and real kills (docs/reliability.md, rows 22 to 24)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMON = """
import csv, errno, os, random, resource, signal, subprocess, sys, time
from dataclasses import replace
from pathlib import Path
import mmap
import structlog
import exporter.sinks.audit as audits
from exporter.sinks.audit import Audit
from exporter.config.sections.service import AuditConfig
from exporter.sinks.audit_rows import HEADER
from exporter.observe.metrics import SelfMetrics
from tests.support.verdicts import key, verdict

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
audits.RETRY_SECONDS = 0.02
metrics = SelfMetrics()

PODS = tuple(key(pod=f"pod-{n}", namespace="default") for n in range(1000))

def numbered(first, count):
    keys = PODS if count == len(PODS) else PODS[:count]
    return verdict(keys, values=[[first + n] for n in range(count)])

def value(name, metrics=metrics):
    return metrics.registry.get_sample_value(f"anomaly_exporter_audit_{name}_total") or 0.0

def eventually(true):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)

def values(path):
    content = path.read_bytes()
    assert content.startswith(HEADER) and content.count(HEADER) == 1, content[:200]
    assert content.endswith(b"\\n"), content[-200:]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert all(None not in row and None not in row.values() for row in rows)
    return [int(float(row["value"])) for row in rows]
"""

TMPFS = """
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
path = folder / "audit.csv"
audit = Audit(AuditConfig(path=path, all_samples=True), metrics)
(folder / "filler").write_bytes(bytes(20_000))
audit.write(numbered(0, 1000))
eventually(lambda: value("write_errors") >= 3)
torn = values(path)                              # while the disk is full: whole rows only
assert torn == list(range(len(torn))) and 50 < len(torn) < 1000, len(torn)
assert value("rows") == len(torn)
(folder / "filler").unlink()                     # some room, not enough
eventually(lambda: value("rows") > len(torn))
subprocess.run(["mount", "-o", "remount,size=10m", folder], check=True)
eventually(lambda: value("rows") == 1000)
assert values(path) == list(range(1000))

subprocess.run(["mount", "-o", "remount,ro", folder], check=False)   # busy while open for writing
print("full", value("write_errors") > 3, value("rows_lost"))
audit.close(5)
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
metrics = SelfMetrics()
audit = Audit(AuditConfig(path=path, all_samples=True), metrics)
audit.write(numbered(1000, 10))
eventually(lambda: value("write_errors", metrics) >= 3)
subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
eventually(lambda: value("rows", metrics) == 10)
audit.close(5)
assert values(path) == list(range(1010))
print("read-only", value("rows_lost", metrics))
"""

LIMIT = """
path = Path(sys.argv[1]) / "audit.csv"
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
audit = Audit(AuditConfig(path=path, all_samples=True), metrics)
audit.write(numbered(0, 1000))
eventually(lambda: value("write_errors") >= 3)
torn = values(path)
assert torn == list(range(len(torn))) and 30 < len(torn) < 200, len(torn)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
eventually(lambda: value("rows") == 1000)
audit.close(5)
assert values(path) == list(range(1000))
print("short", value("rows_lost"))
"""

DENIED = """
os.chdir(sys.argv[1])
os.chmod(".", 0o755)
folder = Path("logs")
folder.mkdir()
if os.getuid() == 0:                             # root may write anywhere
    os.chown(folder, 65534, 65534)
    os.setuid(65534)
path = folder / "audit.csv"
audit = Audit(AuditConfig(path=path, all_samples=True), metrics)
audit.write(numbered(0, 10))
eventually(lambda: value("rows") == 10)
path.rename(folder / "moved.csv")
folder.chmod(0o500)
audit.write(numbered(10, 10))
eventually(lambda: value("write_errors") >= 3)
folder.chmod(0o700)
eventually(lambda: value("rows") == 20)
audit.close(5)
assert values(path) == list(range(10, 20))
print("denied", value("rows_lost"))
"""

KILLS = 60
KILL = f"""
folder = Path(sys.argv[1])
path = folder / "audit.csv"
config = AuditConfig(path=path, all_samples=True, max_size=50_000, keep=100_000)
shared = mmap.mmap(-1, 8)                        # rows the child knows to be written
chance = random.Random(3)
first = torn = rotated = 0

def content(newest_last):
    files = [*sorted(folder.glob("audit.csv.[0-9]*"), key=lambda path: -int(path.suffix[1:])), path]
    return b"".join(file.read_bytes() for file in files if file.exists()), files

for kill in range({KILLS}):
    child = os.fork()
    if not child:
        metrics = SelfMetrics()
        audit, at = Audit(config, metrics), first
        while True:
            audit.write(numbered(at, 1000))
            at += 1000
            shared[:8] = int(value("rows", metrics)).to_bytes(8, "little")
            while len(audit._pending) > 3000:
                time.sleep(0.001)
    enough = chance.randrange(600)               # rows, not seconds: a busy machine writes as many
    while int.from_bytes(shared[:8], "little") < enough:
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    known = int.from_bytes(shared[:8], "little")
    shared[:8] = bytes(8)
    before, _ = content(True)
    whole = before[: before.rfind(b"\\n") + 1]
    torn += whole != before
    audit = Audit(config, SelfMetrics())         # the restart; one more row, to have the file opened
    audit.write(numbered(-1, 1))
    audit.close(5)
    after, files = content(True)
    assert after.replace(HEADER, b"").startswith(whole.replace(HEADER, b"")), "a complete row was lost"
    found = [each for file in files for each in values(file)]
    mine = [each for each in found if each >= first]
    assert mine == list(range(first, first + len(mine))), "a gap or a double row"
    assert len(mine) >= known, "a row counted as written is gone"
    first += len(mine)
    rotated += len(files) > 1
    for file in files:
        file.unlink()
print(first, rotated, torn)
"""


def run(script: str, folder: Path, *prefix: str) -> list[str]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", COMMON + script, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def can_mount() -> bool:
    """Whether a small file system can be had, in a mount namespace of its own."""
    return shutil.which("unshare") is not None and not os.system("unshare -m true 2>/dev/null")


def test_a_full_and_a_read_only_disk_lose_no_row_and_tear_none(tmp_path: Path) -> None:
    """Rows 22 and 23, on a tmpfs of 64 KiB."""
    if not can_mount():
        pytest.skip("no right to mount; the short write is tested with a file size limit too")
    assert run(TMPFS, tmp_path, "unshare", "-m") == ["full True 0.0", "read-only 0.0"]


def test_a_really_short_write_tears_no_row(tmp_path: Path) -> None:
    """Row 22: the kernel takes a part of a batch, then refuses."""
    assert run(LIMIT, tmp_path) == ["short 0.0"]


def test_a_folder_without_permission_loses_no_row(tmp_path: Path) -> None:
    """Row 23: moved by logrotate, and the new file may not be made."""
    assert run(DENIED, tmp_path) == ["denied 0.0"]


def test_sixty_kills_tear_no_row_and_lose_no_complete_one(tmp_path: Path) -> None:
    """Row 24, rotation included."""
    (line,) = run(KILL, tmp_path)
    written, rotated, _torn = map(int, line.split())
    assert written > 10_000
    assert rotated > 5, "hardly a kill came after a rotation: the test proves less than it says"

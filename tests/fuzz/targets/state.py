"""The state file of a job: as bytes, and with arrays that somebody sealed anew."""

import atexit
import hashlib
import tempfile
from pathlib import Path

import structlog

from exporter.models.signed_records import StateHeader, libraries, seal
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.service.state_files import StateFolder
from tests.pipeline.test_cycle import Bench
from tests.support.every_detector import judged_by
from tests.support.fake import DIGESTS

OURS = ()  # it never raises: the job starts without history, and the log says why


def _bench() -> Bench:
    found = Bench(**judged_by("robust"), history="1h")
    for name in "ab":
        found.source.put("q", {"i": name}, {60.0 * minute: float(minute % 7) for minute in range(70)})
    found.cycle(60)
    return found


_BENCH = _bench()
_HOLDER = tempfile.TemporaryDirectory(prefix="fuzz-state")
atexit.register(_HOLDER.cleanup)
_FOLDER = StateFolder(Path(_HOLDER.name), list)
_FOLDER.save(_BENCH.job)
_FILE = next(Path(_HOLDER.name).glob("*.state"))
_SAVED = _FILE.read_bytes()
_ARRAYS = _SAVED[8 + int.from_bytes(_SAVED[:8]) :]
SEEDS = (b"\0" + _SAVED, b"\1" + _ARRAYS, b"\1PK\3\4", b"\0" + _SAVED[:100])


def read(data: bytes) -> None:
    content = data[1:]
    if data[:1] == b"\1":  # what somebody could do who writes to the folder, where no key signs the files
        digest = DIGESTS.learning
        header = StateHeader("job", digest, 3600.0, libraries(), len(content), hashlib.sha256(content).hexdigest())
        sealed = seal(header, [])
        content = len(sealed).to_bytes(8) + sealed + content
    _FILE.write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        restored = _FOLDER.restore(Job(JobSettings("job", _BENCH.config, DIGESTS), _BENCH.source))
    assert restored or logs

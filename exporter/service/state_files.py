"""What jobs have learnt, and which incidents are open, kept over a restart.

One file per job, replaced atomically: a sealed header (`manifest.StateHeader`) in its length, then the arrays as npz.
"""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from detectors.entity_state import KEYS_FIELD, decode_keys
from detectors.types import State
from exporter.atomic_files import TooLarge, read_once, write_atomically
from exporter.config.secrets import SecretUnavailable
from exporter.models import folder_name
from exporter.models.signed_records import SealError, StateHeader, libraries, seal, unseal
from exporter.pipeline.handover import handed_over
from exporter.pipeline.job import Job
from exporter.pipeline.shard import Shard

log = structlog.get_logger()

LARGEST: Final = 8 * 2**30
"""Bytes of one state file beyond which it cannot be ours."""
_LENGTH: Final = 8
_HANDED_OVER: Final = 86_400.0
"""Seconds; a state that is older than the newest one by more is of replicas that were there before."""
_MOST_REPLICAS: Final = 100
"""States of more than so many replicas are not looked for."""


class StateFolder:
    """Saves and restores the state of jobs.

    Whatever is wrong with a file, its job starts without history and the log says why.

    Parameters
    ----------
    path : Path
        The folder; made when it is not there.
    keys : callable returning a list of bytes
        Keys that sign and check the files, since a detector's state may hold a pickle; may raise SecretUnavailable.
    shared : Path or None
        Folder that all replicas of a job share, where each has a file of its own.
    """

    def __init__(self, path: Path, keys: Callable[[], list[bytes]], shared: Path | None = None) -> None:
        self._path, self._keys, self._shared = path if shared is None else shared, keys, shared

    def save(self, job: Job) -> None:
        """Save the state of `job`; the caller makes sure that no cycle of it is running."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **job.state())
        arrays = buffer.getvalue()
        header = StateHeader(
            job=job.name,
            digest=job.settings.digests.learning,
            judged=job.judged,
            libraries=libraries(),
            size=len(arrays),
            sha256=hashlib.sha256(arrays).hexdigest(),
        )
        try:
            sealed = seal(header, self._keys())
            self._path.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file(job), len(sealed).to_bytes(_LENGTH) + sealed + arrays)
        except (OSError, SecretUnavailable) as error:
            hint = "a restart would go back to the state saved before; make room or the folder writable"
            log.error("state_not_saved", job=job.name, file=str(self._file(job)), error=str(error), hint=hint)

    def restore(self, job: Job) -> bool:
        """Give a fresh `job` its saved state back; return whether there was one to use.

        After False from a damaged state the job may be half restored: use a new one.
        """
        file = self._file(job)
        read = self._read(file, job)
        if read is not None:
            return self._restored(job, file, *read)
        if self._shared is None or file.exists():
            return False
        found = [(each, read) for each in self._others(job) if (read := self._read(each, job)) is not None]
        if not found:
            return False
        found.sort(key=lambda each: each[1][0], reverse=True)
        newest = [(each, read) for each, read in found if found[0][1][0] - read[0] < _HANDED_OVER]
        state = handed_over([read[1] for _, read in newest], job.settings.owns)
        entities = len(decode_keys(state[f"incidents/{KEYS_FIELD}"]))
        log.info("state_handed_over", job=job.name, replicas=len(newest), entities=entities)
        return self._restored(job, newest[0][0], min(read[0] for _, read in newest), state)

    def _read(self, file: Path, job: Job) -> tuple[float, State] | None:
        """Return until when a state file has judged and its arrays; None where it is of no use, which the log tells."""
        try:
            data = read_once(file, LARGEST)
            start = _LENGTH + int.from_bytes(data[:_LENGTH])
            header = unseal(data[_LENGTH:start], StateHeader, self._keys())
            arrays = data[start:]
            if (len(arrays), hashlib.sha256(arrays).hexdigest()) != (header.size, header.sha256):
                raise SealError("damaged", "does not match its digest")
            if (header.job, header.digest) != (job.name, job.settings.digests.learning):
                raise SealError("wrong_model", "is of another configuration of the job, or of an earlier version")
            if header.libraries != libraries():
                raise SealError(
                    "other_versions", "was saved by other versions of Python, numpy, joblib or scikit-learn"
                )
            with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
                return header.judged, dict(stored)
        except FileNotFoundError:
            return None
        except Exception as error:  # without a key anybody who may write there makes arrays of any form
            _refused(job, file, error)
            return None

    @staticmethod
    def _restored(job: Job, file: Path, judged: float, state: State) -> bool:
        try:
            job.restore(state)
        except Exception as error:  # as above
            _refused(job, file, error)
            return False
        log.info("state_restored", job=job.name, judged=judged)
        return True

    def _others(self, job: Job) -> list[Path]:
        """Return the files of the replicas that there were when their number was another one."""
        there = {file.stem for file in self._path.glob("*.state")}
        splits = [Shard(index, count) for count in range(1, _MOST_REPLICAS + 1) for index in range(count)]
        names = [folder_name(each.model_name(job.name)) for each in splits if each.count != job.settings.shard.count]
        return [self._path / f"{name}.state" for name in names if name in there]

    def _file(self, job: Job) -> Path:
        name = job.name if self._shared is None else job.settings.model_name
        return self._path / f"{folder_name(name)}.state"


def _refused(job: Job, file: Path, error: Exception) -> None:
    expected = isinstance(error, OSError | TooLarge | SealError | SecretUnavailable | ValueError)
    what = str(error) if expected else f"holds something else than a state ({type(error).__name__}: {error})"
    log.warning("state_refused", job=job.name, file=str(file), error=what, hint="the job starts without history")

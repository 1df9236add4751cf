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

from exporter.atomic_files import TooLarge, read_once, write_atomically
from exporter.config.secrets import SecretUnavailable
from exporter.models import folder_name
from exporter.models.signed_records import SealError, StateHeader, libraries, seal, unseal
from exporter.pipeline.job import Job

log = structlog.get_logger()

LARGEST: Final = 8 * 2**30
"""Bytes of one state file beyond which it cannot be ours."""
_LENGTH: Final = 8


class StateFolder:
    """Saves and restores the state of jobs.

    Whatever is wrong with a file, its job starts without history and the log says why.

    Parameters
    ----------
    path : Path
        The folder; made when it is not there.
    keys : callable returning a list of bytes
        Keys that sign and check the files, since a detector's state may hold a pickle; may raise SecretUnavailable.
    """

    def __init__(self, path: Path, keys: Callable[[], list[bytes]]) -> None:
        self._path, self._keys = path, keys

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
                job.restore(dict(stored))
        except FileNotFoundError:
            return False
        except Exception as error:  # without a key anybody who may write there makes arrays of any form
            expected = isinstance(error, OSError | TooLarge | SealError | SecretUnavailable | ValueError)
            what = str(error) if expected else f"holds something else than a state ({type(error).__name__}: {error})"
            hint = "the job starts without history"
            log.warning("state_refused", job=job.name, file=str(file), error=what, hint=hint)
            return False
        log.info("state_restored", job=job.name, judged=header.judged)
        return True

    def _file(self, job: Job) -> Path:
        return self._path / f"{folder_name(job.name)}.state"

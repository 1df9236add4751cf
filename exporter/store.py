"""The model store: fitted models on disk, checked before a byte of them is unpickled.

| file | what it holds |
|---|---|
| `<store>/<job>/<version>/model.joblib` | the detector's state, a dict of arrays |
| `<store>/<job>/<version>/manifest.json` | what it is, how it came about, digest and signature |
| `<store>/<job>/current` | which version is in service |
| `<store>/<job>/lock` | serialises saving |

`current` is a small sealed file, not a symbolic link: it can be signed, so nobody puts an old model back in service
unseen; one rename switches it; and no file the loader opens may be a link.
A refused model stays where it is, as evidence: it is out of use from the next save on.
"""

import hashlib
import hmac
import io
import re
import secrets
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import joblib
import numpy as np

from detectors.types import State
from exporter.config.models import ModelsConfig
from exporter.config.secrets import SecretUnavailable
from exporter.files import Lock, LockHeld, TooLarge, read_once, sync_folder, write_atomically, write_new
from exporter.manifest import Manifest, Pointer, Reason, SealError, as_json, libraries, seal, signing_keys, unseal

KEPT: Final = 10  # versions per job: a rollback has somewhere to go, and the disk does not fill up

_PLAIN_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,79}")
_VERSION = re.compile(r"(\d{6,})-\d{8}T\d{6}Z")
_RECORD_LIMIT = 2**20
_PICKLE = b"\x80"  # how a pickle begins; joblib's compressed formats all begin otherwise
_Record = TypeVar("_Record", Manifest, Pointer)


class StoreError(Exception):
    """The store cannot be read or written. The message names job, file, cause and what to do."""


class ModelMissing(StoreError):
    """The job has no model in the store yet."""


class ModelRefused(StoreError):
    """There is a model and it must not be used; `reason` is from a closed list. The job has to be fitted anew."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{message}; it is not used, the job needs a new fit")
        self.reason = reason


class Store:
    """Saves and loads models below the folder of `config`. Safe for several processes and threads.

    With a key configured every file must be signed with it (the secret may hold several, one a line: the first signs,
    all are accepted, so that keys can be changed). Without, checksums guard against damage but not against forgery.
    """

    def __init__(self, config: ModelsConfig) -> None:
        self._config = config
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def save(
        self,
        job: str,
        detector: str,
        parameters: Mapping[str, Any],
        channels: Sequence[str],
        state: State,
        *,
        trained_from: float,
        trained_to: float,
        fingerprint: str,
        quality: Mapping[str, float] | None = None,
    ) -> Manifest:
        """Store a fitted model and put it in service. A kill leaves the previous model or this one in service.

        Parameters
        ----------
        state : State
            What the detector's `state()` returned.
        trained_from, trained_to : float
            Unix seconds of the first and last sample it was fitted on.
        fingerprint : str
            Identifies those samples.
        quality : mapping of str to float
            Figures from a backtest; NaN is stored as null.

        Raises
        ------
        StoreError
            The folder cannot be written, another process keeps the lock, or the model is larger than allowed.
        """
        keys = self._keys(job)
        buffer = io.BytesIO()
        joblib.dump(state, buffer)
        model = buffer.getbuffer()
        if len(model) > self._config.max_size:
            raise StoreError(
                f"job {job}: the model has {len(model)} bytes, more than models.max_size ({self._config.max_size}); "
                "it is not saved: raise the limit or make the model smaller"
            )
        folder = self._config.path / folder_name(job)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with Lock(folder / "lock", wait=30.0):
                before = self._pointer_or_none(folder, job, keys)
                generation = 1 + max([*_versions(folder), before.generation if before else 0, self._seen.get(job, 0)])
                now = time.time()
                manifest = Manifest(
                    job=job,
                    version=f"{generation:06d}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}",
                    generation=generation,
                    detector=detector,
                    parameters=as_json(parameters),
                    channels=tuple(channels),
                    trained_from=trained_from,
                    trained_to=trained_to,
                    trained_at=now,
                    fingerprint=fingerprint,
                    quality={name: float(x) if np.isfinite(x) else None for name, x in (quality or {}).items()},
                    libraries=libraries(),
                    size=len(model),
                    sha256=hashlib.sha256(model).hexdigest(),
                )
                _tidy(folder, before.version if before else "")
                _write_version(folder, manifest, model, keys)
                write_atomically(folder / "current", seal(Pointer(job, manifest.version, generation), keys))
        except LockHeld as error:
            raise StoreError(f"job {job}: the model is not saved, {error}; is another training running?") from None
        except OSError as error:
            raise StoreError(
                f"job {job}: the model cannot be saved in {folder}: {error.strerror or error}; "
                "what was in service stays so: make room, or make the folder writable"
            ) from None
        return manifest

    def load(
        self, job: str, detector: str, parameters: Mapping[str, Any], channels: Sequence[str]
    ) -> tuple[State, Manifest]:
        """Return the state of the model in service, and its manifest.

        Nothing is unpickled before signature, digest, identity and library versions were found right; and the bytes
        that were checked are the bytes that are unpickled, since every file is read once.

        Raises
        ------
        ModelMissing
            Nothing was saved for the job yet.
        ModelRefused
            What is there is damaged, forged, made for something else, or older than what this process has seen.
        StoreError
            The key cannot be read.
        """
        keys = self._keys(job)
        folder = self._config.path / folder_name(job)
        pointer = _open(folder / "current", Pointer, job, keys)
        if pointer.job != job or not _VERSION.fullmatch(pointer.version):
            raise ModelRefused("wrong_model", f"job {job}: {folder / 'current'} belongs to another job")
        manifest = _open(folder / pointer.version / "manifest.json", Manifest, job, keys)
        path = folder / pointer.version / "model.joblib"
        if manifest.identity() != (job, pointer.version, detector, as_json(parameters), tuple(channels)):
            raise ModelRefused("wrong_model", f"job {job}: {path} was fitted for another detector, channels or job")
        if changed := manifest.libraries.items() - libraries().items():
            saved_by = ", ".join(f"{name} {version}" for name, version in sorted(changed))
            raise ModelRefused(
                "other_versions", f"job {job}: {path} was saved by {saved_by}, which is not installed here"
            )
        with self._lock:
            if pointer.generation < max(self._seen.get(job, 0), manifest.generation):
                raise ModelRefused("replayed", f"job {job}: {folder / 'current'} is older than one seen before")
            self._seen[job] = pointer.generation
        model = _read(path, self._config.max_size, job)
        if len(model) != manifest.size or not hmac.compare_digest(hashlib.sha256(model).hexdigest(), manifest.sha256):
            raise ModelRefused("damaged", f"job {job}: {path} does not match the digest in its manifest")
        return _unpickle(model, path, job), manifest

    def _pointer_or_none(self, folder: Path, job: str, keys: Sequence[bytes]) -> Pointer | None:
        try:
            return _open(folder / "current", Pointer, job, keys)
        except (ModelMissing, ModelRefused):
            return None

    def _keys(self, job: str) -> list[bytes]:
        try:
            return signing_keys(self._config.key)
        except SecretUnavailable as error:
            raise StoreError(f"job {job}: models cannot be signed or checked: {error}") from None


def folder_name(job: str) -> str:
    """Return a folder name for a job: its own name where that is plain, else a likeness and a digest, never shared."""
    if _PLAIN_NAME.fullmatch(job):
        return job
    likeness = re.sub(r"[^a-z0-9_-]+", "-", job.lower())[:40].strip("-")
    return f"{likeness or 'job'}~{hashlib.sha256(job.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _versions(folder: Path) -> dict[int, Path]:
    """Return the stored versions by generation."""
    return {int(match[1]): path for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name))}


def _write_version(folder: Path, manifest: Manifest, model: memoryview, keys: Sequence[bytes]) -> None:
    draft = folder / f".{manifest.version}.{secrets.token_hex(4)}.tmp"
    try:
        draft.mkdir()
        write_new(draft / "model.joblib", model)
        write_new(draft / "manifest.json", seal(manifest, keys))
        sync_folder(draft)
        draft.rename(folder / manifest.version)
        sync_folder(folder)  # before `current` can name it
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _tidy(folder: Path, in_service: str) -> None:
    """Remove what killed saves left behind, and the oldest versions beyond those kept."""
    for draft in folder.glob(".*.tmp"):
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink()
    for _generation, path in sorted(_versions(folder).items(), reverse=True)[KEPT - 1 :]:
        if path.name != in_service:
            shutil.rmtree(path)


def _open(path: Path, kind: type[_Record], job: str, keys: Sequence[bytes]) -> _Record:
    try:
        return unseal(_read(path, _RECORD_LIMIT, job), kind, keys)
    except SealError as error:
        raise ModelRefused(error.reason, f"job {job}: {path} {error}") from None


def _read(path: Path, limit: int, job: str) -> bytes:
    try:
        return read_once(path, limit)
    except TooLarge as error:
        raise ModelRefused("too_large", f"job {job}: {error}") from None
    except FileNotFoundError:
        raise ModelMissing(f"job {job}: there is no {path}; the job needs a fit") from None
    except OSError as error:
        raise ModelRefused("unreadable", f"job {job}: {path} cannot be read: {error.strerror or error}") from None


def _unpickle(model: bytes, path: Path, job: str) -> State:
    if not model.startswith(_PICKLE):
        raise ModelRefused("damaged", f"job {job}: {path} is compressed or no joblib file; only plain ones are saved")
    try:
        state = joblib.load(io.BytesIO(model))
    except Exception as error:  # an unpickler raises whatever the content makes it raise
        raise ModelRefused("damaged", f"job {job}: {path} cannot be unpickled ({type(error).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(array, np.ndarray) for array in state.values()):
        raise ModelRefused("damaged", f"job {job}: {path} holds something else than named arrays")
    return state

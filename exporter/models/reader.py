"""Reading what is in a model store: nothing is used, let alone unpickled, before it was found right."""

import hashlib
import hmac
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import joblib
import numpy as np

from detectors.types import State
from exporter.atomic_files import TooLarge
from exporter.models.backend import Backend
from exporter.models.errors import ModelMissing, ModelRefused, StoreError, Unreachable
from exporter.models.names import folder_name, is_version, newest_first
from exporter.models.signed_records import Manifest, Outcome, Pointer, SealError, as_json, libraries, unseal

RECORD_LIMIT: Final = 2**20
"""Bytes of a manifest, pointer or other record, beyond which it is not read."""
_PICKLE: Final = b"\x80"  # how a pickle begins; joblib's compressed formats all begin otherwise
_Record = TypeVar("_Record", Manifest, Outcome)
_Content = TypeVar("_Content")


class Reader:
    """Reads the records and models of one job; `keys` are those of the store, `most` is models.max_size in bytes."""

    def __init__(self, place: Backend, job: str, keys: Sequence[bytes], most: int) -> None:
        self.place, self.job, self._keys, self._most = place, job, keys, most
        self.folder = folder_name(job)

    def pointer(self) -> Pointer:
        """Return what is active. Raises ModelMissing, ModelRefused, StoreError."""
        name, data = self._read(lambda: self.place.pointer(self.folder, RECORD_LIMIT), f"{self.folder}/current")
        try:
            pointer = unseal(data, Pointer, self._keys)
        except SealError as error:
            raise ModelRefused(error.reason, f"job {self.job}: {self.place.where(name)} {error}") from None
        if pointer.job != self.job or not all(map(is_version, (pointer.version, *pointer.replaced))):
            raise ModelRefused("wrong_model", f"job {self.job}: {self.place.where(name)} belongs to another job")
        return pointer

    def current(self) -> Pointer | None:
        """Return what is active, None if nothing is. Raises ModelRefused, StoreError."""
        try:
            return self.pointer()
        except ModelMissing:
            return None

    def versions(self) -> list[str]:
        """Return the names of what is stored, the newest first. Raises StoreError."""
        try:
            return newest_first(self.place.names(self.folder))
        except OSError as error:
            where = self.place.where(self.folder)
            raise StoreError(f"job {self.job}: {where} cannot be listed: {error.strerror or error}") from None

    def manifest(self, version: str) -> Manifest:
        """Return a version's manifest. Raises ModelMissing, ModelRefused, StoreError."""
        return self._record(version, "manifest.json", Manifest)

    def outcome(self, version: str) -> Outcome | None:
        """Return what the gate said about a version, None if nothing yet. Raises ModelRefused, StoreError."""
        try:
            return self._record(version, "gate.json", Outcome)
        except ModelMissing:
            return None

    def model(self, manifest: Manifest) -> bytes:
        """Return the bytes of a model that are as its manifest says. Raises ModelMissing, ModelRefused, StoreError."""
        name = f"{self.folder}/{manifest.version}/model.joblib"
        model = self._read(lambda: self.place.read(name, self._most), name)
        if len(model) != manifest.size or not hmac.compare_digest(hashlib.sha256(model).hexdigest(), manifest.sha256):
            raise ModelRefused(
                "damaged", f"job {self.job}: {self.place.where(name)} does not match the digest in its manifest"
            )
        return model

    def usable(self, manifest: Manifest) -> None:
        """Check that a model was saved by library versions that are installed here. Raises ModelRefused."""
        if changed := manifest.libraries.items() - libraries().items():
            saved_by = ", ".join(f"{name} {version}" for name, version in sorted(changed))
            path = self.place.where(f"{self.folder}/{manifest.version}/model.joblib")
            raise ModelRefused(
                "other_versions", f"job {self.job}: {path} was saved by {saved_by}, which is not installed here"
            )

    def meant_for(
        self, manifest: Manifest, detector: str, parameters: Mapping[str, Any], channels: Sequence[str]
    ) -> None:
        """Check that a model was fitted for these. Raises ModelRefused."""
        asked = (self.job, manifest.version, detector, as_json(parameters), tuple(channels))
        if manifest.identity() != asked:
            path = self.place.where(f"{self.folder}/{manifest.version}/model.joblib")
            raise ModelRefused(
                "wrong_model", f"job {self.job}: {path} was fitted for another detector, channels or job"
            )

    def unpickled(self, model: bytes, version: str) -> State:
        """Return the state in bytes that were checked. Raises ModelRefused."""
        path = self.place.where(f"{self.folder}/{version}/model.joblib")
        if not model.startswith(_PICKLE):
            raise ModelRefused(
                "damaged", f"job {self.job}: {path} is compressed or no joblib file; only plain ones are saved"
            )
        try:
            state = joblib.load(io.BytesIO(model))
        except Exception as error:  # an unpickler raises whatever the content makes it raise
            raise ModelRefused(
                "damaged", f"job {self.job}: {path} cannot be unpickled ({type(error).__name__})"
            ) from None
        if not isinstance(state, dict) or not all(isinstance(array, np.ndarray) for array in state.values()):
            raise ModelRefused("damaged", f"job {self.job}: {path} holds something else than named arrays")
        return state

    def _record(self, version: str, file: str, kind: type[_Record]) -> _Record:
        name = f"{self.folder}/{version}/{file}"
        data = self._read(lambda: self.place.read(name, RECORD_LIMIT), name)
        try:
            record = unseal(data, kind, self._keys)
        except SealError as error:
            raise ModelRefused(error.reason, f"job {self.job}: {self.place.where(name)} {error}") from None
        if (record.job, record.version) != (self.job, version):
            raise ModelRefused(
                "wrong_model", f"job {self.job}: {self.place.where(name)} belongs to another job or version"
            )
        return record

    def _read(self, read: Callable[[], _Content], name: str) -> _Content:
        try:
            return read()
        except TooLarge as error:
            raise ModelRefused("too_large", f"job {self.job}: {error}") from None
        except FileNotFoundError:
            path = self.place.where(name)
            raise ModelMissing(f"job {self.job}: there is no {path}; the job needs a fit") from None
        except Unreachable as error:
            raise StoreError(f"job {self.job}: {error}") from None
        except OSError as error:
            path, why = self.place.where(name), error.strerror or error
            raise ModelRefused("unreadable", f"job {self.job}: {path} cannot be read: {why}") from None

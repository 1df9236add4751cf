"""Listing, verifying and pruning stored models."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from detectors.units import DAY
from exporter.atomic_files import TooLarge
from exporter.json_values import from_json
from exporter.models.backend import Backend
from exporter.models.errors import ModelMissing, ModelRefused
from exporter.models.exchange import read_record, write_record
from exporter.models.names import folder_name, newest_first, saved_at
from exporter.models.reader import RECORD_LIMIT, Reader
from exporter.models.signed_records import Manifest, Outcome, SealError

_LAST_TRAINING: Final = "LastTraining"
_UNFINISHED: Final = DAY  # seconds after which a version without a manifest is not an upload that still runs


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version in the store: its manifest, or why it is refused; `outcome` is the gate's, if it was judged."""

    version: str
    in_service: bool
    manifest: Manifest | None
    refused: str = ""
    outcome: Outcome | None = None


def stored(reader: Reader, version: str, in_service: bool) -> ModelVersion:
    """Return what there is to know of a version without reading its model. Raises StoreError."""
    try:
        return ModelVersion(version, in_service, reader.manifest(version), outcome=reader.outcome(version))
    except ModelMissing:
        why = f"job {reader.job}: version {version} was not saved to its end"
    except ModelRefused as error:
        why = str(error)
    return ModelVersion(version, in_service, None, refused=why)


def damage(reader: Reader) -> dict[str, str]:
    """Read all that is stored of a job; return what is wrong, by version or `current`. Raises StoreError."""
    wrong = {}
    try:
        if (pointer := reader.current()) is not None:
            reader.manifest(pointer.version)
    except (ModelMissing, ModelRefused) as error:
        wrong["current"] = str(error)
    for version in reader.versions():
        try:
            manifest = reader.manifest(version)
            reader.model(manifest)
            reader.outcome(version)
            reader.usable(manifest)
        except (ModelMissing, ModelRefused) as error:
            wrong[version] = str(error)
    return wrong


def tidy(reader: Reader, keep: int) -> tuple[str, ...]:
    """Remove the oldest versions beyond `keep`, and uploads that were never finished; return which.

    The active version and the one before it stay. Raises OSError, StoreError.
    """
    try:
        pointer = reader.current()
    except ModelRefused:  # which one must be kept is unknown
        return ()
    held = {pointer.version, *pointer.replaced[:1]} if pointer else set()
    now, removed = time.time(), []
    for rank, version in enumerate(reader.versions()):
        folder = f"{reader.folder}/{version}"
        old = now - saved_at(version) > _UNFINISHED
        unfinished = old and "manifest.json" not in reader.place.names(folder)
        if (rank >= keep or unfinished) and version not in held:
            reader.place.remove(folder)
            removed.append(version)
    return tuple(removed)


def job_of(place: Backend, folder: str) -> str | None:
    """Return whose models are in a folder, None if that cannot be made out. Raises OSError."""
    if folder_name(folder) == folder:
        return folder
    for version in newest_first(place.names(folder)):
        try:
            job = str(from_json(place.read(f"{folder}/{version}/manifest.json", RECORD_LIMIT))["job"])
        except (FileNotFoundError, TooLarge, ValueError, TypeError, KeyError):
            continue
        return job if folder_name(job) == folder else None
    return None


def result_of(data: bytes) -> dict[str, Any] | None:
    """Read how a training ended, None if `data` is something else."""
    try:
        found = read_record(_LAST_TRAINING, data)
    except SealError:
        return None
    return found if isinstance(found.get("totals", {}), dict) else None


def counted(before: Mapping[str, Any] | None, result: Mapping[str, Any]) -> bytes:
    """Write how a training ended; `totals` says how many have ended like this, those `before` included."""
    totals = dict((before or {}).get("totals", {}))
    outcome = str(result.get("outcome", "failed"))
    totals[outcome] = totals.get(outcome, 0) + 1
    return write_record(_LAST_TRAINING, {"time": time.time(), **result, "totals": totals})

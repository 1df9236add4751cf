"""Small files through which commands and the running exporter tell each other something about a job.

All have one form: JSON with a checksum (`signed_records.seal`), replaced atomically by the backend of the folder.
Files of versions that wrote plain JSON without a checksum are read too.
"""

from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from exporter.config.sections.root import Config
from exporter.models.backend import Backend, FolderBackend, place_of
from exporter.models.names import folder_name
from exporter.models.signed_records import SealError, decoded, seal_fields, unseal_fields

LARGEST: Final = 64 * 1024
"""Bytes of a file beyond which it is not read."""


class _OfJob(Protocol):
    @property
    def job(self) -> str: ...


Record = TypeVar("Record", bound=_OfJob)


def shared_place(config: Config) -> Backend | None:
    """Return where a configuration's processes share files: next to the models, else next to the saved states."""
    if config.models:
        return place_of(config.models)
    return FolderBackend(config.state.path) if config.state else None


def shared_folder(config: Config) -> Path | None:
    """Return the same as a local folder: models in an object store are passed over, None where there is no folder."""
    if config.models and config.models.path:
        return config.models.path
    return config.state.path if config.state else None


def write_record(kind: str, fields: dict[str, Any]) -> bytes:
    """Return the content of a file with plain data, or with numbers of numpy."""
    # Not msgspec's own JSON: a label may hold half of a surrogate pair.
    return seal_fields(kind, msgspec.to_builtins(fields, enc_hook=float))


def read_record(kind: str, data: bytes) -> dict[str, Any]:
    """Return the plain data in a file. Raises SealError."""
    fields = decoded(data)
    if not fields.keys() & {"kind", "signature", "checksum"}:
        return fields  # of a version that wrote no checksum
    return unseal_fields(data, kind)


class Exchange(Generic[Record]):
    """One file for each job, in one folder; a later record of a job replaces the earlier one.

    Parameters
    ----------
    place : Backend
    folder : str
        Begins with a dot: no job can have this name, so it may stand among the folders of the models.
    kind : type
        A msgspec struct with a field `job`.
    """

    def __init__(self, place: Backend, folder: str, kind: type[Record]) -> None:
        self._place, self._folder, self._kind = place, folder, kind

    def where(self, job: str) -> str:
        """Return what to call the file of a job in a message."""
        return self._place.where(self._file(job))

    def write(self, record: Record) -> str:
        """Write the file of a job; return what to call it. Raises OSError."""
        fields: dict[str, Any] = msgspec.to_builtins(record)
        self._place.write(self._file(record.job), write_record(self._kind.__name__, fields))
        return self.where(record.job)

    def read(self, job: str) -> Record | None:
        """Return the record of a job; None where there is none. Raises OSError, TooLarge, SealError."""
        try:
            data = self._place.read(self._file(job), LARGEST)
        except FileNotFoundError:
            return None
        try:
            record = msgspec.convert(read_record(self._kind.__name__, data), self._kind)
        except msgspec.ValidationError as error:
            raise SealError("damaged", f"has another form: {error}") from None
        return record if record.job == job else None

    def remove(self, job: str) -> None:
        """Remove the file of a job. Raises OSError."""
        self._place.remove(self._file(job))

    def _file(self, job: str) -> str:
        return f"{self._folder}/{folder_name(job)}.json"

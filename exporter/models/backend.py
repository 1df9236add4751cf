"""Where a store's files are: what a folder and an object store have in common, and the folder."""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

from exporter.atomic_files import Lock, LockHeld, read_once, sync_folder, write_atomically, write_new
from exporter.config.sections.models import ModelsConfig

LOCK_WAIT: Final = 30.0
"""Seconds that a change of a job's models waits for another one to end."""


class Backend(Protocol):
    """Files by names such as `node-cpu/current`. All methods raise OSError, where the store cannot be reached too."""

    def where(self, name: str) -> str:
        """Return what to call the file in a message."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's content, read once. Raises TooLarge above `limit` bytes, FileNotFoundError."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or replace it: a reader sees the old content or the new."""
        ...

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a new folder. Where it is cut short, the last of `files` is not there. Raises FileExistsError."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return what is directly in a folder, hidden names left out; nothing where there is no such folder."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its files, of these a manifest first; nothing where there is none."""
        ...

    def pointer(self, job: str, limit: int) -> tuple[str, bytes]:
        """Return the name and the content of a job's newest pointer. Raises as `read`."""
        ...

    def turn(self, job: str) -> int:
        """Return how many pointers the job has had; ask before reading the one that is there."""
        ...

    def point(self, job: str, turn: int, data: bytes) -> None:
        """Make `data` the job's pointer. Raises FileExistsError where somebody else has done so since that turn."""
        ...

    def alone(self, job: str) -> AbstractContextManager[None]:
        """Keep others from changing the job as long as the context lasts, where the place has such locks."""
        ...


def place_of(config: ModelsConfig) -> Backend:
    """Return where `config` keeps models. A `file://` URL is a folder as any other."""
    if config.path is not None:
        return FolderBackend(config.path)
    if (config.url or "").startswith(("file://", "local://")):
        return FolderBackend(Path(unquote((config.url or "").partition("://")[2])))
    from exporter.models.backend_fsspec import FsspecBackend  # fsspec and what it brings: only where it is needed

    return FsspecBackend(config)


class FolderBackend:
    """A local folder: what is written is down on the disk, renamed into place, and under a lock of its job."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def where(self, name: str) -> str:
        """Return the path."""
        return str(self._path / name)

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's content; no symbolic link is followed."""
        return read_once(self._path / name, limit)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or replace it, by one rename."""
        file = self._path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a new folder and rename it into place."""
        path = self._path / folder
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            draft.mkdir()
            for name, data in files.items():
                write_new(draft / name, data)
            sync_folder(draft)
            draft.rename(path)
            sync_folder(path.parent)  # before `current` can name it
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def names(self, folder: str) -> list[str]:
        """Return what is directly in a folder."""
        path = self._path / folder
        return [each.name for each in path.iterdir() if not each.name.startswith(".")] if path.is_dir() else []

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its files: first its name, so that half of it is never found."""
        path = self._path / name
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        with suppress(FileNotFoundError):
            path.rename(draft)
            _discard(draft)

    def pointer(self, job: str, limit: int) -> tuple[str, bytes]:
        """Return `current`."""
        return f"{job}/current", self.read(f"{job}/current", limit)

    def turn(self, job: str) -> int:
        """Return nothing of use: the lock makes sure that nobody else switches."""
        del job
        return 0

    def point(self, job: str, turn: int, data: bytes) -> None:
        """Replace `current`."""
        del turn
        self.write(f"{job}/current", data)

    @contextmanager
    def alone(self, job: str) -> Iterator[None]:
        """Hold the job's lock; what killed processes left behind is removed first."""
        folder = self._path / job
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with Lock(folder / "lock", wait=LOCK_WAIT):
                for draft in folder.glob(".*.tmp"):
                    _discard(draft)
                yield
        except LockHeld as error:
            raise BlockingIOError(f"{error}; is another training running?") from None


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()

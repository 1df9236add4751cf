"""An object store as the place of models: whatever fsspec can reach by a URL.

Two trainers at once are kept apart without a lock, since one in an object store would have to expire, and with it the
promise: `current` is a folder of numbered pointers, each made by a conditional put that fails when the number is taken.
The highest one counts.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final, TypeVar

import fsspec

from exporter.atomic_files import TooLarge
from exporter.config.secrets import Secret
from exporter.config.sections.models import ModelsConfig
from exporter.models.errors import Unreachable
from exporter.redact import masked

POINTERS: Final = 20
"""Pointers kept of a job; those before tell nothing that the newest does not."""
STUCK: Final = 4
"""Calls without an answer beyond which no further one is tried until one of them ends: each holds a thread."""

_T = TypeVar("_T")


class FsspecBackend:
    """The objects below `config.url`.

    Every call ends within `config.timeout` seconds; after one without an answer the next ones fail at once for as long.
    """

    def __init__(self, config: ModelsConfig) -> None:
        self._url, self._options, self._timeout = config.url or "", config.options, config.timeout
        self._stuck: list[threading.Thread] = []
        self._silent_until = -math.inf

    def where(self, name: str) -> str:
        """Return the URL."""
        return f"{self._url}/{name}".rstrip("/")

    def read(self, name: str, limit: int) -> bytes:
        """Return an object's content; of a larger one no more than the limit is fetched."""
        data: bytes = self._do(lambda fs, root: fs.cat_file(f"{root}/{name}", start=0, end=limit + 1))
        if len(data) > limit:
            raise TooLarge(f"{self.where(name)} has more than {limit} bytes")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write an object, or replace it."""
        self._do(lambda fs, root: fs.pipe_file(f"{root}/{name}", data))

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write new objects one after the other; the last one makes the version count."""
        for name, data in files.items():
            self._create(f"{folder}/{name}", data)

    def names(self, folder: str) -> list[str]:
        """Return what is directly below a folder."""

        def listed(fs: Any, root: str) -> list[str]:
            path = f"{root}/{folder}".rstrip("/")
            fs.invalidate_cache()
            with suppress(FileNotFoundError):
                return [each.rstrip("/").rpartition("/")[2] for each in fs.ls(path, detail=False)]
            return []

        return [name for name in self._do(listed) if not name.startswith(".")]

    def remove(self, name: str) -> None:
        """Remove an object, or all below a folder; without its manifest a version is none."""

        def removed(fs: Any, root: str) -> None:
            with suppress(FileNotFoundError):
                fs.rm_file(f"{root}/{name}/manifest.json")
            fs.invalidate_cache()
            with suppress(FileNotFoundError):
                fs.rm(f"{root}/{name}", recursive=True)

        self._do(removed)

    def pointer(self, job: str, limit: int) -> tuple[str, bytes]:
        """Return the pointer with the highest number."""
        numbers = self._pointers(job)
        if not numbers:
            raise FileNotFoundError
        name = f"{job}/current/{numbers[-1]}"
        return name, self.read(name, limit)

    def turn(self, job: str) -> int:
        """Return the highest number."""
        return max(map(int, self._pointers(job)), default=0)

    def point(self, job: str, turn: int, data: bytes) -> None:
        """Make the pointer with the next number, which only one can do."""
        self._create(f"{job}/current/{turn + 1:012d}", data)
        for number in self._pointers(job)[:-POINTERS]:
            with suppress(OSError):  # the next switch tries again
                self.remove(f"{job}/current/{number}")

    def alone(self, job: str) -> AbstractContextManager[None]:
        """Keep nobody away: see above."""
        del job
        return nullcontext()

    def _pointers(self, job: str) -> list[str]:
        return sorted(name for name in self.names(f"{job}/current") if name.isdecimal())

    def _create(self, name: str, data: bytes) -> None:
        self._do(lambda fs, root: fs.pipe_file(f"{root}/{name}", data, mode="create"))

    def _do(self, call: Callable[[Any, str], _T]) -> _T:
        """Return what `call` returns of the file system and the path of our root. Raises OSError."""

        def connected() -> _T:
            # fsspec keeps the connection as long as the options stay; a rotated secret makes a new one.
            fs, root = fsspec.url_to_fs(self._url, use_listings_cache=False, **_resolved(self._options))
            return call(fs, root.rstrip("/"))

        done: list[_T] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                done.append(connected())
            except BaseException as error:
                failed.append(error)

        self._stuck = [thread for thread in self._stuck if thread.is_alive()]
        if self._stuck and (len(self._stuck) >= STUCK or time.monotonic() < self._silent_until):
            raise Unreachable(f"{self._url} does not answer: an earlier call still waits for it")
        # A thread of its own, since not every library behind fsspec has a time limit, and none is for a whole call.
        thread = threading.Thread(target=work, name="model-store", daemon=True)
        thread.start()
        thread.join(self._timeout)
        if thread.is_alive():
            self._stuck.append(thread)
            self._silent_until = time.monotonic() + self._timeout
            raise Unreachable(f"{self._url} gave no answer within {self._timeout:g}s (models.timeout)")
        if failed:
            raise _told(failed[0], self._url) from None
        return done[0]


def _resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` with the secrets they refer to. Raises SecretUnavailable."""
    return {
        name: value.read() if isinstance(value, Secret) else _resolved(value) if isinstance(value, dict) else value
        for name, value in options.items()
    }


def _told(error: BaseException, url: str) -> OSError:
    """Return `error` as an OSError whose text holds no secret; a library's own kinds mean that it got no answer."""
    text = masked(str(error).strip() or type(error).__name__)
    if isinstance(error, FileNotFoundError | FileExistsError | PermissionError):
        return type(error)(text)
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        return OSError(error.errno, text) if error.errno else OSError(text)
    return Unreachable(f"{url} cannot be used: {text}")

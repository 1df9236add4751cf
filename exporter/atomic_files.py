"""Files that survive a kill: atomic writes, reads of one version of the bytes, advisory locks."""

import fcntl
import os
import secrets
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class TooLarge(Exception):
    """A file is larger than the caller is willing to read."""


class LockHeld(Exception):
    """Another process holds the lock; the message says which."""


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_new(path: Path, data: bytes | memoryview) -> None:
    """Write a file that must not exist yet, down to the disk. Raises OSError."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` so that a reader, or a restart after a kill, sees the old content or the new. Raises OSError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        write_new(draft, data)
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_once(path: Path, limit: int) -> bytes:
    """Return the content of a regular file, all from the one file that was opened, so it can be checked and then used.

    Raises
    ------
    TooLarge
        There are more than `limit` bytes; none were read.
    OSError
        Not readable, a symbolic link (ELOOP), or not a regular file.
    """
    # O_NONBLOCK: opening a FIFO somebody put there must not hang.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a regular file")
        if status.st_size > limit:
            raise TooLarge(f"{path} has {status.st_size} bytes, more than {limit}")
        return file.read(limit)


class Lock:
    """An advisory lock (flock) on a file of its own; it ends with the process, however that ends.

    The file stays: removing it would let two processes hold "the" lock on two files.
    """

    def __init__(self, path: Path, wait: float = 0.0) -> None:
        self._path = path
        self._wait = wait
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock, waiting up to `wait` seconds. Raises LockHeld, OSError."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            deadline = time.monotonic() + self._wait
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                        raise LockHeld(f"process {holder} holds {self._path}") from None
                    time.sleep(0.01)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def held(self) -> bool:
        """Whether the lock is ours and still guards the file of this name: somebody may have deleted it."""
        if self._fd < 0:
            return False
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        ours = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

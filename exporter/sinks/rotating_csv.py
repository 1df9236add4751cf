"""A CSV file that holds whole rows only, whatever happens to the disk, the folder or the process."""

import errno
import os
import stat
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import structlog

from exporter.atomic_files import sync_folder

log = structlog.get_logger()

_BLOCK = 64 * 1024


class CsvFile:
    """Appends rows to `path`, under a header of its own, rotated by size into path.1 (newest) … path.N.

    A batch of rows is one write, so a kill leaves all of it or, rarely, a torn tail, which is cut off when the file is
    opened next. It is forced to the disk on rotation and closing only: what was written outlives the process in any
    case, and fsync on a busy disk takes seconds, to save at most the last seconds before a power cut.

    Parameters
    ----------
    path : Path
        Opened at the first `append`, and again when the file was moved, deleted or replaced under us.
    header : bytes
        First line of each file. A file with another one is renamed to path.other-TIME, not mixed.
    earlier : collection of bytes
        First lines of files of earlier versions: these are rotated, so that those who read them find them.
    max_size, keep : int
        Bytes at which to rotate, and rotated files to keep.
    """

    def __init__(self, path: Path, header: bytes, max_size: int, keep: int, earlier: Collection[bytes] = ()) -> None:
        self.path = path
        self._header, self._earlier = header, tuple(earlier)
        self._fd = -1
        self.limit(max_size, keep)

    def limit(self, max_size: int, keep: int) -> None:
        """Set other limits; may be called from any thread, and holds from the next `append` on."""
        self._max_size, self._keep = max_size, keep
        self.batch_size = max(min(256 * 1024, max_size - len(self._header)), 1)

    def append(self, rows: bytes) -> int:
        """Write whole rows, each ended by a newline; return how many bytes of them are in the file: whole rows again.

        Fewer than given means that the disk is full. Raises OSError when not one row could be written.
        """
        try:
            return self._append(rows)
        except BaseException:
            self._drop()  # whatever is torn now is repaired when the file is opened again
            raise

    def close(self) -> None:
        """Force what was written to the disk. Raises OSError."""
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            finally:
                self._drop()

    def _append(self, rows: bytes) -> int:
        size = self._open_size()
        if size > len(self._header) and size + len(rows) > self._max_size:
            self._rotate()
            size = self._open_size()
        head = b"" if size else self._header
        written = os.write(self._fd, head + rows)
        if written == len(head) + len(rows):
            return len(rows)
        whole = rows.rfind(b"\n", 0, max(written - len(head), 0)) + 1
        os.ftruncate(self._fd, size + len(head) + whole if whole else size)
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return whole

    def _open_size(self) -> int:
        """Make sure that the file at `path` is the one that is open, and return its size."""
        if self._fd >= 0:
            ours = os.fstat(self._fd)
            try:
                there = os.stat(self.path)
                if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                    return ours.st_size
            except FileNotFoundError:
                pass
            self.close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._fd = os.open(self.path, flags, 0o640)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(self.path))
        start = os.pread(self._fd, len(self._header), 0)
        if not self._header.startswith(start):
            if self._keep and start.startswith(self._earlier):
                self._rotate()
                return self._open_size()
            other = self.path.with_name(f"{self.path.name}.other-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
            self.path.rename(other)
            log.warning("audit_file_set_aside", path=str(self.path), renamed_to=str(other), why="it has other columns")
            self._drop()
            return self._open_size()
        return self._repair()

    def _repair(self) -> int:
        """Cut off a row that a kill or a full disk left torn: rows hold no newline but the one that ends them."""
        size = end = os.fstat(self._fd).st_size
        while end:
            start = max(end - _BLOCK, 0)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._fd, end)
            log.warning("audit_file_repaired", path=str(self.path), torn_bytes=size - end)
        return end

    def _rotate(self) -> None:
        keep = self._keep  # `limit` may change it meanwhile
        self.close()
        if keep == 0:
            self.path.unlink()
        # A kill between two renames leaves a gap: moving files up only as far as that loses none of them.
        free = next((n for n in range(1, keep) if not self._numbered(n).exists()), keep)
        for n in range(free, 0, -1):
            self._numbered(n - 1).replace(self._numbered(n))
        sync_folder(self.path.parent)

    def _numbered(self, n: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{n}") if n else self.path

    def _drop(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

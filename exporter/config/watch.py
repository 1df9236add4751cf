"""Noticing that the configuration files changed, by their content."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from exporter.config.read_file import MAX_BYTES


def contents(files: tuple[Path, ...]) -> str | None:
    """Return a digest of what is in the files, None where one of them cannot be read."""
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():  # a pipe in its place would keep us waiting for ever
            return None
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except OSError:
            return None
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


class Watcher:
    """Tells, when asked, whether files have new content that has stopped changing.

    Content is compared, not times or inodes: that sees the swapped `..data` link of a Kubernetes ConfigMap, and does
    not see a mere touch. A file that is missing or cannot be read does not count as a change; its replacement may.

    Parameters
    ----------
    files : tuple of Path
        The files as the configuration was loaded from them.
    debounce : float
        Seconds for which new content must stay the same, so that a half-written file is left alone.
    known : str, optional
        `contents(files)` from before they were loaded, so that a change while loading is noticed; default: as of now.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        files: tuple[Path, ...],
        debounce: float,
        known: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._debounce = debounce
        self._clock = clock
        self._known = known or contents(files)
        self._seen: str | None = None
        self._seen_at = 0.0

    def changed(self) -> bool:
        """Return True once for every new content."""
        content = contents(self._files)
        if content is None or content == self._known:
            self._seen = None
            return False
        if content != self._seen:
            self._seen, self._seen_at = content, self._clock()
        if self._clock() - self._seen_at < self._debounce:
            return False
        self._known, self._seen = content, None
        return True

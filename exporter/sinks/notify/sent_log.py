"""What was sent to whom: by incident, for its page."""

import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from detectors.types import Key
from exporter.atomic_files import write_atomically
from exporter.sinks import checked_json
from exporter.sinks.notify.notification import Incident

log = structlog.get_logger()

MOST: Final = 4000
"""Entries kept, the newest."""
_MOST_OF_A_MESSAGE: Final = 200
FILE: Final = "sent.json"
_LARGEST: Final = 64 * 2**20
What = Literal["beginning", "change", "end"]


class Sent(msgspec.Struct, frozen=True):
    """A message that told of an incident. `since` is when the incident began; times are Unix seconds."""

    at: float
    receiver: str
    what: What
    job: str
    labels: dict[str, str]
    since: float

    @property
    def key(self) -> Key:
        """The identity of the entity."""
        return tuple(sorted(self.labels.items()))


class _Saved(msgspec.Struct):
    sent: list[Sent] = []


class SentLog:
    """Remembers what the receivers have taken. Safe to use from any thread.

    With a `state` folder it outlives the process. Of a message that is edited again and again the newest edit counts.
    """

    def __init__(self) -> None:
        self._lock, self._writing = threading.Lock(), threading.Lock()  # the first is never held during output
        self._entries: deque[Sent] = deque(maxlen=MOST)
        self._file: Path | None = None

    def use(self, folder: Path | None) -> None:
        """Keep it in a folder, and read what is there already."""
        file = folder / FILE if folder is not None else None
        with self._lock:
            if file is not None and file != self._file:
                self._entries.extendleft(reversed(_load(file)))
            self._file = file

    def note(self, receiver: str, what: What, incidents: Iterable[Incident], now: float) -> None:
        """Note that a receiver has taken a message on incidents at `now` (Unix seconds)."""
        with self._lock:
            for each in list(incidents)[:_MOST_OF_A_MESSAGE]:
                entry = Sent(now, receiver, what, each.job, each.labels, each.since)
                if what == "change" and (before := self._newest(entry)) is not None:
                    self._entries.remove(before)
                self._entries.append(entry)
            file = self._file
        if file is not None and what != "change":
            with self._writing:
                with self._lock:
                    content = _Saved(list(self._entries))
                _save(file, content)

    def _newest(self, entry: Sent) -> Sent | None:
        same = (each for each in self._entries if msgspec.structs.replace(each, at=entry.at) == entry)
        return next(same, None)

    def of(self, job: str, key: Key, since: float) -> list[Sent]:
        """Return what was sent of an incident, the oldest first; `since` is when it began, to a second."""
        with self._lock:
            entries = list(self._entries)
        wanted = tuple(sorted(key))
        return [each for each in entries if each.job == job and abs(each.since - since) < 1.0 and each.key == wanted]


def _save(file: Path, content: _Saved) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, checked_json.encode(content))
    except OSError as error:
        hint = "after a restart the page does not know what was sent; make room or the folder writable"
        log.error("sent_log_not_saved", file=str(file), error=str(error), hint=hint)


def _load(file: Path) -> list[Sent]:
    hint = "pages do not tell what was sent before now"
    return checked_json.load(file, _LARGEST, _Saved, "sent_log_refused", hint).sent

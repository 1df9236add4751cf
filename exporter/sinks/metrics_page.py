"""The page that Prometheus scrapes: rendered when a cycle has ended, then only handed out."""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
from isal import isal_zlib
from numpy.typing import NDArray
from prometheus_client import generate_latest

from detectors.types import Floats, Key
from exporter import exposition
from exporter.config.sections.job import JobConfig
from exporter.families import FAMILIES, Family
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import NewestVerdict

log = structlog.get_logger()

_RESERVED: Final = frozenset({"query", "detector"})
_GZIP: Final = 31  # zlib's way of asking for gzip's header
MOST_INCIDENTS: Final = 1000
"""Incidents of a job whose readings are shown; ten times as many as alerts with readings in their texts."""
_SMALL: Final = 2**16
"""Parts of a page below this many bytes are joined with their neighbours, since each is sent by itself."""


class Snapshot:
    """One finished page.

    Parameters
    ----------
    parts : sequence of bytes
        The page, not compressed, in parts that are never joined: at 100,000 series that would double its memory.
    generation : int
        Counts the pages since the start.
    """

    def __init__(self, parts: Sequence[bytes], generation: int) -> None:
        self.parts = tuple(parts)
        self.size = sum(map(len, self.parts))
        """Bytes, not compressed."""
        self.generation = generation
        self.compressed: bytes | None = None
        """What `gzip` returned, None before the first call."""
        self._lock = threading.Lock()

    @property
    def body(self) -> bytes:
        """The whole page."""
        return b"".join(self.parts)

    def gzip(self) -> bytes:
        """Return the page compressed; the first caller pays for it, from any thread."""
        with self._lock:
            if self.compressed is None:
                stream = isal_zlib.compressobj(level=1, wbits=_GZIP)
                self.compressed = b"".join([*map(stream.compress, self.parts), stream.flush()])
            return self.compressed


class _Labels:
    """The label texts of a job's entities, kept while the entities stay the same.

    A text that is missing or a repetition is left out: Prometheus takes two lines with the same labels for a mistake.
    """

    def __init__(self, keys: tuple[Key, ...], own: str, reserved: frozenset[str], before: "_Labels | None") -> None:
        self.keys, self.own, self.reserved = keys, own, reserved
        known = before.by_key if before is not None and before.fits(own, reserved) else {}
        self.by_key: dict[Key, bytes | None] = {
            key: known.get(key) or exposition.label_text(key, own, reserved) for key in keys
        }
        first: dict[bytes, int] = {}
        too_long = 0
        for row, key in enumerate(keys):
            text = self.by_key[key]
            if text is None:
                too_long += 1
            else:
                first.setdefault(text, row)
        self.texts = list(first)
        self.rows: NDArray[np.intp] | slice = slice(None)
        if len(first) < len(keys):
            self.rows = np.fromiter(first.values(), np.intp, len(first))
        self.dropped = {"label": too_long, "duplicate": len(keys) - too_long - len(first)}

    def fits(self, own: str, reserved: frozenset[str]) -> bool:
        """Tell whether the texts were made with the same labels of our own."""
        return self.own == own and self.reserved == reserved


@dataclass(frozen=True, slots=True)
class _Published:
    """What the page holds of one job."""

    labels: _Labels
    blocks: Mapping[str, bytes]


class Page(NewestVerdict):
    """Composes the page from the newest verdict of every job and the exporter's own metrics.

    All methods may be called from any thread; `publish` for one job only from one at a time.
    """

    current: Snapshot
    """The newest finished page; replaced as a whole, so that no reader sees a mixture."""

    def __init__(self, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._jobs: dict[str, _Published] = {}
        self._wake, self._closing = threading.Event(), False
        self._thread: threading.Thread | None = None
        self.current = Snapshot((), -1)
        self.render()

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Take over a verdict, with the gauges that the job publishes."""
        self.publish(verdict, config.publish)

    def publish(self, verdict: Verdict, fields: Collection[str]) -> None:
        """Take over a verdict; the next `render` shows it.

        Parameters
        ----------
        verdict : Verdict
            Replaces the job's verdict before.
        fields : collection of str
            What to show in addition to score and flag; see `families.OPTIONS`.
        """
        job, detector = verdict.job, verdict.detector
        before = self._jobs.get(job)
        own = f'query="{exposition.escape(job)}",detector="{exposition.escape(detector)}"'
        # All families of a job keep the same labels, so that `ignoring (channel)` joins them.
        reserved = _RESERVED | {"channel"} if len(verdict.channels) > 1 else _RESERVED
        labels = before.labels if before is not None else None
        if labels is None or labels.keys is not verdict.keys or not labels.fits(own, reserved):
            labels = _Labels(verdict.keys, own, reserved, labels)
        groups = _Labels(tuple(verdict.groups), own, _RESERVED, None)
        blocks = _blocks(verdict, fields, labels, groups)
        with self._lock:
            self._jobs[job] = _Published(labels, blocks)
            for part in (labels, groups):
                for reason, count in part.dropped.items():
                    if count:
                        self._metrics.series_dropped.labels(job, reason).inc(count)

    def withdraw(self, job: str) -> None:
        """Take the judged series of a job off the page."""
        with self._lock:
            self._jobs.pop(job, None)

    def start(self) -> None:
        """Render from now on in a thread of the page's own, so that no cycle waits for it."""
        self.render()
        self._thread = threading.Thread(target=self._render_when_asked, name="page", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Have the page rendered with all that has come in; at once where `start` was not called."""
        if self._thread is None:
            self.render()
        else:
            self._wake.set()

    def close(self, timeout: float) -> None:
        """Render no more."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _render_when_asked(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            try:
                self.render()
            except Exception as error:  # whatever it is: without this thread the page would stay as it is for ever
                self._metrics.sink_errors.labels("metrics_page").inc()
                hint = "the page before stays until the next cycle ends; please report this with its traceback"
                log.error("page_not_rendered", exc_info=error, hint=hint)

    def render(self) -> None:
        """Compose the page once and make it the current one."""
        with self._lock:
            parts = [generate_latest(self._metrics.registry)]
            for family in FAMILIES:
                blocks = [block for job in self._jobs.values() if (block := job.blocks.get(family.metric))]
                if blocks:
                    parts += [exposition.family_header(family.metric, family.help), *blocks, b"\n"]
            self.current = Snapshot(tuple(_joined(parts)), self.current.generation + 1)
            self._metrics.page_bytes.set(self.current.size)


def _joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join small parts, and leave large ones as they are."""
    waiting: list[bytes] = []
    for part in parts:
        if len(part) < _SMALL:
            waiting.append(part)
            continue
        yield b"".join(waiting)
        waiting = []
        yield part
    yield b"".join(waiting)


def _blocks(verdict: Verdict, fields: Collection[str], labels: _Labels, groups: _Labels) -> dict[str, bytes]:
    """Return the lines of a verdict by metric; an empty block where there are none."""
    return {
        family.metric: _of_incidents(family, verdict, labels)
        if family.kind == "incident"
        else _block(family, verdict, groups if family.kind == "groups" else labels)
        for family in FAMILIES
        if not family.optional or family.name in fields
    }


def _block(family: Family, verdict: Verdict, labels: _Labels) -> bytes:
    values, texts, rows = getattr(verdict, family.array), labels.texts, labels.rows
    if family.kind == "shares":
        return _shares(family, verdict, labels)
    if family.per_channel:
        return _by_channel(family, verdict, texts, values[rows])
    head = exposition.encode(f"{family.metric}{{")
    if family.kind == "present":
        return exposition.present_lines(head, texts, values[rows])
    if family.kind == "bit":
        return exposition.lines(head, texts, exposition.bits(values[rows]))
    if family.kind == "true":
        chosen = [texts[at] for at in np.flatnonzero(values[rows]).tolist()]
        return exposition.lines(head, chosen, [b"1"] * len(chosen))
    scores = np.fromiter(values.values(), float, len(values)) if family.kind == "groups" else values
    return exposition.lines(head, texts, exposition.numbers(scores[rows]))


def _by_channel(family: Family, verdict: Verdict, texts: Sequence[bytes], values: Floats) -> bytes:
    """Return the lines of each channel, from an array of shape (len(texts), C)."""
    return b"".join(
        exposition.present_lines(_channel_head(family.metric, verdict.channels, at), texts, values[:, at])
        for at in range(len(verdict.channels))
    )


def _shares(family: Family, verdict: Verdict, labels: _Labels) -> bytes:
    """Return the lines of the channels that contribute most to open incidents; the others are not worth a series."""
    if len(verdict.channels) == 1:
        return b""
    flagged = np.flatnonzero(verdict.flag[labels.rows])
    texts = [labels.texts[at] for at in flagged.tolist()]
    shares = getattr(verdict, family.array)[labels.rows][flagged]
    shares = np.where(shares >= (1 - 1e-9) / len(verdict.channels), shares, np.nan)
    return _by_channel(family, verdict, texts, shares)


def _of_incidents(family: Family, verdict: Verdict, labels: _Labels) -> bytes:
    """Return the lines of the readings of incidents: of alerts and the most severe ones where there are very many."""
    rows = verdict.readings.rows
    several = len(verdict.channels) > 1
    if not len(rows) or (family.array == "contribution" and not several):
        return b""
    text_of = np.full(len(verdict.keys), -1)
    text_of[labels.rows] = np.arange(len(labels.texts))
    chosen = np.flatnonzero(text_of[rows] >= 0)
    if len(chosen) > MOST_INCIDENTS:
        at = rows[chosen]
        chosen = np.sort(chosen[np.lexsort((-verdict.severity[at], ~verdict.alert[at]))[:MOST_INCIDENTS]])
    texts = [labels.texts[at] for at in text_of[rows[chosen]].tolist()]
    values = getattr(verdict.readings, family.array)[chosen]
    if family.per_channel:
        return _by_channel(family, verdict, texts, values)
    return exposition.present_lines(exposition.encode(f"{family.metric}{{"), texts, values)


def _channel_head(family: str, channels: tuple[str, ...], at: int) -> bytes:
    """Return how a line begins: a job with one channel does not name it."""
    if len(channels) == 1:
        return exposition.encode(f"{family}{{")
    return exposition.encode(f'{family}{{channel="{exposition.escape(channels[at])}",')

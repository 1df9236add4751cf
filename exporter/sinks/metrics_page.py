"""The page that Prometheus scrapes: composed when a cycle has ended, written as it is handed out."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog
from isal import isal_zlib
from prometheus_client import generate_latest

from detectors.types import Key
from exporter import exposition
from exporter.config.sections.job import JobConfig
from exporter.exposition import Lines
from exporter.families import FAMILIES
from exporter.label_names import UNDERSCORES
from exporter.observe.metrics import SelfMetrics
from exporter.openmetrics import CLASSIC, END, Form, openmetrics_head, with_exemplars
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import NewestVerdict
from exporter.sinks.joint_book import Joined, no_joint_incidents
from exporter.sinks.page_lines import Published

log = structlog.get_logger()

_GZIP: Final = 31  # zlib's way of asking for gzip's header
_SMALL: Final = 2**16
"""Parts of a page below this many bytes are joined with their neighbours, since each is sent by itself."""
Part = bytes | Lines


class Snapshot:
    """One finished page.

    Parameters
    ----------
    parts : sequence of bytes and Lines
        The page, not compressed. Lines are written for each reader, a piece at a time, and compressed once for all:
        at 100,000 series the written page would take 80 MB, and twice that while the next one replaces it.
    generation : int
        Counts the pages since the start.
    """

    def __init__(self, parts: Sequence[Part], generation: int) -> None:
        self._parts = tuple(parts)
        self.size = sum(map(len, self._parts))
        """Bytes, not compressed."""
        self.generation = generation
        self.compressed: bytes | None = None
        """What `gzip` returned, None before the first call."""
        self._lock = threading.Lock()

    @property
    def body(self) -> bytes:
        """The whole page."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Write the page, some hundred kilobytes at a time."""
        for part in self._parts:
            if isinstance(part, Lines):
                yield from part.pieces()
            else:
                yield part

    def gzip(self) -> bytes:
        """Return the page compressed; the first caller pays for it, from any thread."""
        with self._lock:
            if self.compressed is None:
                stream = isal_zlib.compressobj(level=1, wbits=_GZIP)
                self.compressed = b"".join([*map(stream.compress, self.pieces()), stream.flush()])
            return self.compressed


class Page(NewestVerdict):
    """Composes the page from the newest verdict of every job and the exporter's own metrics.

    All methods may be called from any thread; `publish` for one job only from one at a time.

    Parameters
    ----------
    metrics : SelfMetrics
    joined : callable taking the name of a job
        Returns by series which joint incident it belongs to.
    """

    current: Snapshot
    """The newest finished page in the classic form; replaced as a whole, so that no reader sees a mixture."""

    def __init__(
        self, metrics: SelfMetrics, joined: Callable[[str], Mapping[Key, Joined]] = no_joint_incidents
    ) -> None:
        self._metrics, self._joined = metrics, joined
        self._lock = threading.Lock()
        self._jobs: dict[str, Published] = {}
        self.judged = False
        """Whether the newest finished page has the verdict of a job."""
        self._wake, self._closing = threading.Event(), False
        self._thread: threading.Thread | None = None
        self.current = Snapshot((), -1)
        self._asked: set[Form] = set()
        self._forms: dict[Form, Snapshot] = {}
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
        job = verdict.job
        published = Published.of(verdict, fields, self._jobs.get(job), self._joined(job))
        with self._lock:
            self._jobs[job] = published
            for reason, count in published.dropped:
                if count:
                    self._metrics.series_dropped.labels(job, reason).inc(count)

    def show_first(self, verdict: Verdict, config: JobConfig) -> None:
        """Take over the verdict of a first look."""
        self.show(verdict, config)

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
        """Compose the page once, in the forms that were asked for, and make it the current one."""
        with self._lock:
            generation = self.current.generation + 1
            head = generate_latest(self._metrics.registry)
            made = {form: Snapshot(self._parts(form, head), generation) for form in self._needed()}
            self.current = made[CLASSIC]
            self._forms = made | {form: made[self._same(form)] for form in self._asked}
            self.judged = bool(self._jobs)
            self._metrics.page_bytes.set(self.current.size)

    def ready(self, form: Form) -> Snapshot | None:
        """Return the newest page in a form; None for the first who asks for it. Waits for nothing."""
        return self.current if form == CLASSIC else self._forms.get(form)

    def in_form(self, form: Form) -> Snapshot:
        """Return the newest page in a form. For the first who asks for it it is made now, and from then on always."""
        with self._lock:
            self._asked.add(form)
            if form not in self._forms:
                same = self._same(form)
                found = self._forms.get(same)
                if found is None:
                    head = generate_latest(self._metrics.registry)
                    found = Snapshot(self._parts(same, head), self.current.generation)
                self._forms = {**self._forms, form: found, same: found}
            return self._forms[form]

    def _needed(self) -> set[Form]:
        return {CLASSIC, *map(self._same, self._asked)}

    def _same(self, form: Form) -> Form:
        """Return the form that stands for all that give the same page."""
        if all(job.is_classic for job in self._jobs.values()):
            return Form(form.openmetrics, UNDERSCORES)
        return form

    def _parts(self, form: Form, head: bytes) -> tuple[Part, ...]:
        parts: list[Part] = [head]
        if form.openmetrics:
            parts = [with_exemplars(openmetrics_head(head), self._metrics.cycle_seconds.collect())]
        for family in FAMILIES:
            every = [job.blocks(form.scheme) for job in self._jobs.values()]
            found = [block for each in every if (block := each.get(family.metric))]
            if found:
                parts += [exposition.family_header(family.metric, family.help, form.openmetrics), *found, b"\n"]
        if form.openmetrics:
            parts.append(END)
        return tuple(_joined(parts))


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Write and join small parts, and leave large ones as they are."""
    waiting: list[bytes] = []
    for part in parts:
        if len(part) < _SMALL:
            waiting.append(bytes(part))
            continue
        yield b"".join(waiting)
        waiting = []
        yield part
    yield b"".join(waiting)

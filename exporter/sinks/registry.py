"""All sinks, and how a verdict reaches them: whatever goes wrong in one stays within that one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

import structlog

from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.audit import AuditSink
from exporter.sinks.base import Change, EveryVerdict, NewestVerdict, Sink
from exporter.sinks.drift_requests import DriftRequests
from exporter.sinks.flag_log import FlagLog
from exporter.sinks.incident_log import IncidentLog
from exporter.sinks.job_gauges import JobGauges
from exporter.sinks.joint_log import JointLog
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.metrics_page import Page
from exporter.sinks.notify.notifier import Notifier
from exporter.sinks.notify.pages import OurPages
from exporter.sinks.otlp_metrics import OtlpMetrics
from exporter.sinks.recent import RecentVerdicts
from exporter.sinks.remote_write import RemoteWrite

log = structlog.get_logger()

P = ParamSpec("P")
S = TypeVar("S", bound=Sink)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a sink may be built of.

    Parameters
    ----------
    metrics : SelfMetrics
        The exporter's metrics about itself.
    pages : OurPages
        What messages show of our own pages.
    recent : RecentVerdicts
    joint : JointLog
        Sinks that others look at.
    """

    metrics: SelfMetrics
    pages: OurPages
    recent: RecentVerdicts
    joint: JointLog

    @classmethod
    def of(cls, metrics: SelfMetrics, pages: OurPages) -> "Resources":
        """Return them, with sinks that know nothing yet."""
        recent = RecentVerdicts()
        return cls(metrics, pages, recent, JointLog(recent, metrics))


SINKS: Final[Mapping[str, Callable[[Resources], Sink]]] = {
    "audit": lambda have: AuditSink(have.metrics),
    "flag_log": lambda have: FlagLog(have.metrics),
    "drift_requests": lambda have: DriftRequests(have.metrics),
    "recent": lambda have: have.recent,
    "joint_log": lambda have: have.joint,
    "incident_log": lambda _: IncidentLog(),
    "job_gauges": lambda have: JobGauges(have.metrics),
    "metrics_page": lambda have: Page(have.metrics, have.joint.joined),
    "latest": lambda _: LatestVerdicts(),
    "remote_write": lambda have: RemoteWrite(have.metrics, have.joint.joined),
    "otlp": lambda have: OtlpMetrics(have.metrics, have.joint.joined),
    "notify": lambda have: Notifier(have.metrics, have.pages, have.joint.joined),
}
"""How each sink is built, by the name it has in logs and metrics; verdicts reach them in this order."""


OUTWARD: Final = frozenset({"audit", "flag_log", "drift_requests", "metrics_page", "remote_write", "otlp", "notify"})
"""Sinks that show, write or send verdicts to somebody; those of a standby get none."""


class Sinks:
    """Hands verdicts to sinks. One that raises is counted and logged; the others and the job go on.

    Parameters
    ----------
    metrics : SelfMetrics
    sinks : mapping of str to Sink
        By name.
    """

    def __init__(self, metrics: SelfMetrics, sinks: Mapping[str, Sink]) -> None:
        self._metrics, self._sinks = metrics, sinks
        self.leads: Callable[[], bool] = lambda: True
        """Whether anything may leave this process; asked before every verdict."""
        self._every = {name: sink for name, sink in sinks.items() if isinstance(sink, EveryVerdict)}
        self._newest = {name: sink for name, sink in sinks.items() if isinstance(sink, NewestVerdict)}
        self._failing: set[tuple[str, str, str]] = set()

    @classmethod
    def of(cls, resources: Resources) -> "Sinks":
        """Build every sink of the map."""
        return cls(resources.metrics, {name: build(resources) for name, build in SINKS.items()})

    def one(self, kind: type[S]) -> S:
        """Return the sink of this class, for whoever reads what it shows."""
        return next(sink for sink in self._sinks.values() if isinstance(sink, kind))

    def prepare(self, config: Config) -> Change:
        """Prepare another configuration of every sink. Raises what a sink raised, after all is as it was."""
        changes: dict[str, Change] = {}
        with ExitStack() as undo:
            for name, sink in self._sinks.items():
                changes[name] = sink.prepare(config)
                undo.callback(changes[name].discard)
            discard = undo.pop_all().close

        def commit() -> None:
            for name, change in changes.items():
                self._call(name, "", "commit", change.commit)

        return Change(commit, discard)

    def start(self) -> None:
        """Start what runs next to the cycles."""
        for sink in self._sinks.values():
            sink.start()

    def close(self, timeout: float) -> None:
        """Close every sink, each within `timeout` seconds."""
        for name, sink in self._sinks.items():
            self._call(name, "", "close", sink.close, timeout)

    def record(self, verdict: Verdict) -> None:
        """Hand over a verdict to the sinks that need every one."""
        for name, sink in self._reached(self._every):
            self._call(name, verdict.job, "record", sink.record, verdict)

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Show the newest verdict of a job. A sink that fails shows nothing of the job, rather than an old verdict."""
        for name, sink in self._reached(self._newest):
            if not self._call(name, verdict.job, "show", sink.show, verdict, config):
                self._call(name, verdict.job, "withdraw", sink.withdraw, verdict.job)

    def show_again(self, verdict: Verdict, config: JobConfig) -> None:
        """Show the verdict from before a restart."""
        for name, sink in self._reached(self._newest):
            self._call(name, verdict.job, "show", sink.show_again, verdict, config)

    def show_first(self, verdict: Verdict, config: JobConfig) -> None:
        """Show the verdict of a first look at a job, where that is of use."""
        for name, sink in self._newest.items():
            self._call(name, verdict.job, "show", sink.show_first, verdict, config)

    def warm(self, job: str, detector: str, entities: int) -> None:
        """Show that a job is replaying its history."""
        for name, sink in self._reached(self._newest):
            self._call(name, job, "warm", sink.warm, job, detector, entities)

    def withdraw(self, job: str) -> None:
        """Show nothing of a job any more."""
        for name, sink in self._newest.items():
            self._call(name, job, "withdraw", sink.withdraw, job)

    def flush(self) -> None:
        """Note that a cycle has ended, or that something else which is shown has changed."""
        for name, sink in self._newest.items():
            self._call(name, "", "flush", sink.flush)

    def _reached(self, sinks: Mapping[str, S]) -> Iterator[tuple[str, S]]:
        """Yield the sinks that get verdicts now."""
        leads = self.leads()
        for name, sink in sinks.items():
            if leads or name not in OUTWARD:
                yield name, sink

    def _call(
        self, name: str, job: str, action: str, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> bool:
        """Call a sink and return whether that worked. Every failure is counted, the first in a row is logged."""
        try:
            call(*args, **kwargs)
        except Exception as error:  # a defect in one sink must not stop the others, nor the job
            self._metrics.sink_errors.labels(name).inc()
            if (name, job, action) not in self._failing:
                self._failing.add((name, job, action))
                hint = "the job and the other sinks go on; please report this with its traceback"
                log.error("sink_failed", sink=name, job=job, action=action, exc_info=error, hint=hint)
            return False
        self._failing.discard((name, job, action))
        return True

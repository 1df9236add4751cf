"""What the pages look at, without an exporter."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from exporter.config.sections.root import Config
from exporter.context.deploys import Deploy
from exporter.observe.health import Health
from exporter.pipeline.verdict import Verdict
from exporter.sinks.feedback_book import FeedbackBook
from exporter.sinks.incident_log import IncidentLog
from exporter.sinks.joint_log import JointLog
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.notify.sent_log import SentLog
from exporter.sinks.recent import RecentVerdicts
from exporter.source.samples import RangeResult
from exporter.web.ui.bench import Bench
from exporter.web.ui.facts import Facts, JobDetails, JobFacts, Running, no_details
from tests.support.fake import FakeSource
from tests.support.verdicts import verdict

STEP = 60.0
HEALTHY = Health(cycles=9, last_success=1.0, seconds=0.1, progress=1.0)


class Watched:
    """An exporter as far as the pages see it: verdicts are shown to all its sinks, its jobs are `healthy`."""

    def __init__(self, **config: Any) -> None:
        config.setdefault("jobs", {"cpu": {"expr": "node_memory_free_bytes"}})
        self.config = Config.model_validate(config)
        self.feed, self.recent, self.incidents = LatestVerdicts(), RecentVerdicts(), IncidentLog()
        self.feedback = FeedbackBook()
        self.joint = JointLog(self.recent)
        for sink in (self.feed, self.recent, self.incidents, self.feedback, self.joint):
            sink.prepare(self.config).commit()
        self.health = dict.fromkeys(self.config.jobs, HEALTHY)
        self.source, self.refused, self.sent = FakeSource(), "", SentLog()
        self.stages = {"fetch": 0.0421, "score": 0.0137}
        self.now = time.time() // STEP * STEP
        self.started = self.now - 7200.0
        self.bench: Bench | None = None
        self.details: Callable[[str], JobDetails] = no_details
        self.deploys: list[Deploy] = []

    def facts(self) -> Facts:
        jobs = {name: JobFacts(job, self.health[name], stages=self.stages) for name, job in self.config.jobs.items()}
        return Facts(self.config, "digest", jobs, self.started, self.started, self.refused)

    @property
    def running(self) -> Running:
        read = lambda *asked: self.read(*asked)  # noqa: E731, PLW0108 - a test may replace it
        deploys = lambda _job, _key, start, end: [each for each in self.deploys if start <= each.at <= end]  # noqa: E731
        running = Running(
            self.facts, self.feed, self.recent, self.incidents, read, self.feedback, self.sent, self.bench, self.details
        )
        return dataclasses.replace(running, deploys=deploys, joint=self.joint)

    def read(self, expr: str, start: float, end: float, step: float) -> RangeResult:
        return self.source.range(expr, start, end, step)

    def show(self, shown: Verdict) -> Verdict:
        """Hand a verdict to all sinks."""
        self.recent.record(shown)
        self.joint.record(shown)
        self.incidents.record(shown)
        self.feed.publish(shown)
        return shown

    def minutes(
        self, keys, count: int, flagged: Callable[[int], Any], job: str = "cpu", evidence: Any = None, **changed: Any
    ) -> None:
        """Show one verdict a minute up to now; `flagged(minutes ago)` tells which series have an incident.

        `evidence(rows)` makes the streams of the series that have one.
        """
        before = np.zeros(len(keys), bool)
        since = np.full(len(keys), np.nan)
        rng = np.random.default_rng(1)
        for ago in range(count - 1, -1, -1):
            at, flag = self.now - ago * STEP, np.broadcast_to(flagged(ago), len(keys))
            since = np.where(flag, np.where(before, since, at), np.nan)
            values = np.where(flag, 9.0, 5.0)[:, None] + rng.normal(0, 0.2, (len(keys), 1))
            parts = {
                "values": values, "expected": np.full_like(values, 5.0), "lower": np.full_like(values, 4.0),
                "upper": np.full_like(values, 6.0), "score": np.where(flag, 4.0, 0.3), "flag": flag, "alert": flag,
                "changed": flag != before, "since": since, "severity": np.where(flag, 20.0, 0.0),
            } | changed  # fmt: skip
            shown = dataclasses.replace(verdict(keys, job=job, **parts), time=at, needed=np.where(flag, 12.0, np.nan))
            if evidence is not None and flag.any():
                shown = dataclasses.replace(shown, streams=evidence(np.flatnonzero(flag)))
            self.show(shown)
            before = np.array(flag)

"""Asks the source which incidents other replicas publish, in a thread of its own: one rack is one over all replicas."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from detectors.types import Key
from exporter.json_values import from_json
from exporter.observe.metrics import SelfMetrics
from exporter.redact import masked
from exporter.service.looking import Looking
from exporter.sinks.joint_elsewhere import Heard
from exporter.sinks.joint_log import JointLog
from exporter.source.errors import SourceError
from exporter.source.samples import RangeResult

log = structlog.get_logger()

EVERY: Final = 15.0
"""Seconds between two questions."""
MOST: Final = 10_000
"""Incidents in an answer."""
ASKED: Final = "anomaly_incident_moved_timestamp_seconds"
_OF_THE_EXPORTER: Final = ("instance", "job")
"""Labels that Prometheus adds to a series of ours that lacks them."""
_OURS: Final = frozenset({"__name__", "query", "detector", "anomaly_incident"})
_EXPORTED: Final = {"exported_query": "query", "exported_detector": "detector"}


@dataclass(frozen=True, slots=True)
class Mine:
    """What this replica has of a job.

    Parameters
    ----------
    owns : callable taking a Key
        Tells whether this replica judges an entity.
    labels : frozenset of str
        Names of labels that its own entities have, or some hundred of them.
    """

    owns: Callable[[Key], bool]
    labels: frozenset[str]


class ReplicaWatch(Looking):
    """Tells the log of joint incidents what the other replicas of `--shard` see.

    Parameters
    ----------
    joint : JointLog
    replicas : int
        How many share the entities.
    read : callable taking PromQL and the time (Unix seconds)
        Asks the source. Raises SourceError.
    mine : callable taking a job
        Returns what this replica has of it, None where it does not know the job.
    metrics : SelfMetrics
    """

    def __init__(
        self,
        joint: JointLog,
        replicas: int,
        read: Callable[[str, float], RangeResult],
        mine: Callable[[str], Mine | None],
        metrics: SelfMetrics,
    ) -> None:
        super().__init__("replicas", EVERY, "incidents of other replicas are not grouped with ours")
        self._joint, self._replicas, self._read, self._mine, self._metrics = joint, replicas, read, mine, metrics
        self._trouble = ""

    def start(self) -> None:
        """Begin to ask, if there are others."""
        if self._replicas > 1:
            super().start()

    def look(self, now: float) -> None:
        """Ask once, at `now` (Unix seconds)."""
        try:
            answer = self._read(ASKED, now)
        except SourceError as error:
            self._metrics.replica_queries.labels("error").inc()
            trouble = masked(str(error))
            if trouble != self._trouble:
                hint = "until it answers, each replica groups its own incidents: one cause may be several messages"
                log.warning("replicas_not_asked", error=trouble, hint=hint)
            self._trouble = trouble
            return
        self._metrics.replica_queries.labels("success").inc()
        if self._trouble:
            log.info("replicas_asked_again", after=self._trouble)
            self._trouble = ""
        self._joint.hear(self._others(answer), self._replicas, now)

    def _others(self, answer: RangeResult) -> list[Heard]:
        """Return the incidents that are not ours."""
        found: list[Heard] = []
        last, jobs = 0, dict[str, Mine | None]()
        for labels, count in zip(answer.labels, answer.counts.tolist(), strict=True):
            last += count
            every = {str(name): str(value) for name, value in from_json(labels.decode()).items()}
            joint, job = every.get("anomaly_incident", ""), every.get("query", "")
            if job not in jobs:
                jobs[job] = self._mine(job)
            mine = jobs[job]
            if mine is None or not joint or not count:
                continue
            added = {name for name in _OF_THE_EXPORTER if name not in mine.labels} if mine.labels else set()
            some = {_EXPORTED.get(name, name): value for name, value in every.items() if name not in _OURS | added}
            key = tuple(sorted(some.items()))
            if not mine.owns(key):
                replica = every.get("instance", "") if "instance" in added else ""
                found.append(Heard(job, key, float(answer.values[last - 1]), joint, replica))
        return found

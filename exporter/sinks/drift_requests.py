"""A lasting change of a job's scores: counted, logged, and left as a request for the next training."""

import structlog

from exporter.config.sections.root import Config
from exporter.models.retrain_requests import RetrainFolder, RetrainRequest
from exporter.observe.job_metrics import JobMetrics
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.drift import Drift
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import Change, EveryVerdict

log = structlog.get_logger()


class DriftRequests(EveryVerdict):
    """Asks for a new model where a job's scores have drifted; nothing is fitted here."""

    def __init__(self, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._folder: RetrainFolder | None = None

    def prepare(self, config: Config) -> Change:
        """Prepare to leave requests where `config` keeps models or states."""
        folder = RetrainFolder.of(config)
        return Change(lambda: self.write_to(folder))

    def write_to(self, folder: RetrainFolder | None) -> None:
        """Leave requests in this folder from now on; None: only count and log."""
        self._folder = folder

    def record(self, verdict: Verdict) -> None:
        """Count and log the drift of a verdict, if there is one, and leave a request."""
        if verdict.drift is None:
            return
        JobMetrics(self._metrics, verdict.job, verdict.detector).drifted(verdict.drift.method)
        hint = "train the job again, or accept the level where it is right"
        log.warning("drift", job=verdict.job, detector=verdict.detector, why=verdict.drift.reason, hint=hint)
        if self._folder is not None:
            _request(self._folder, verdict, verdict.drift)


def _request(folder: RetrainFolder, verdict: Verdict, drift: Drift) -> None:
    request = RetrainRequest(
        job=verdict.job,
        detector=verdict.detector,
        method=drift.method,
        reason=drift.reason,
        time=verdict.time,
        model_version=verdict.model_version,
        statistics={"before": drift.before, "now": drift.now, "hours": float(drift.hours)},
    )
    try:
        file = folder.write(request)
    except OSError as error:
        log.error("retrain_request_failed", job=verdict.job, error=str(error), hint="train the job by hand")
    else:
        log.info("retrain_requested", job=verdict.job, file=str(file))

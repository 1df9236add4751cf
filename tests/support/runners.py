"""Runners of jobs on a bench, with the sinks that a test looks at."""

from exporter.service.runner import NEVER, Runner, Saving
from exporter.sinks.base import Sink
from exporter.sinks.flag_log import FlagLog
from exporter.sinks.job_gauges import JobGauges
from exporter.sinks.registry import Sinks


def runner_of(bench, saving: Saving = NEVER, **more: Sink) -> Runner:
    """Return a runner of the job of `bench`: its page, what is always there, and `more` sinks."""
    usual = {"flag_log": FlagLog(bench.metrics), "job_gauges": JobGauges(bench.metrics), "metrics_page": bench.page}
    return Runner(bench.job, bench.telemetry, Sinks(bench.metrics, {**usual, **more}), saving)

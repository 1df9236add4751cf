"""All that the page shows, sent to an OpenTelemetry collector, where the standard OTEL_* variables ask for it."""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from detectors.types import Key
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.observe.otel_switch import asked_for
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import Change, NewestVerdict, SinkError
from exporter.sinks.joint_book import Joined, no_joint_incidents

if TYPE_CHECKING:
    from exporter.sinks.otlp_sender import Sender

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",)
_BESIDE: Final = ("prometheus",)
"""The page is there in any case."""


class OtlpMetrics(NewestVerdict):
    """Sends each job's newest verdict and our own metrics by OTLP.

    The endpoint that traces have too does not switch it on: it would have every series sent where only traces are
    wanted. OTEL_METRICS_EXPORTER=otlp does, and so does OTEL_EXPORTER_OTLP_METRICS_ENDPOINT.

    Parameters
    ----------
    metrics : SelfMetrics
    joined : callable taking the name of a job
        Returns by series which joint incident it belongs to.
    environ : mapping of str to str
        The SDK reads all but the switch from the environment of the process.
    """

    def __init__(
        self,
        metrics: SelfMetrics,
        joined: Callable[[str], Mapping[Key, Joined]] = no_joint_incidents,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._metrics, self._joined, self._environ = metrics, joined, environ
        self._sender: Sender | None = None

    def prepare(self, config: Config) -> Change:
        """Prepare to send. Raises SinkError where a package is missing."""
        del config
        if self._sender is None and asked_for(self._environ, "metrics", "OTEL_METRICS_EXPORTER", _ENDPOINTS, _BESIDE):
            try:
                from exporter.sinks.otlp_sender import Sender  # an extra that takes a second to import
            except ImportError as error:
                raise SinkError(
                    f"metrics are to be sent by OTLP, as an OTEL_* environment variable says, but {error.name} is not "
                    "installed: pip install 'anomaly-exporter[otel]', or switch that off by OTEL_METRICS_EXPORTER=none"
                ) from None
            self._sender = Sender(self._metrics, self._joined)
        return Change()

    def start(self) -> None:
        """Send from now on."""
        if self._sender is not None:
            self._sender.start()

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Have a verdict sent."""
        if self._sender is not None:
            self._sender.leave_word(verdict.job, (verdict, config))

    def show_again(self, verdict: Verdict, config: JobConfig) -> None:
        """Send nothing: it was sent before the restart."""

    def withdraw(self, job: str) -> None:
        """Send nothing of a job any more."""
        if self._sender is not None:
            self._sender.leave_word(job, None)

    def close(self, timeout: float) -> None:
        """Send what is pending, within `timeout` seconds."""
        if self._sender is not None:
            until = time.monotonic() + timeout
            self._sender.finish(until)
            self._sender.wait(until)

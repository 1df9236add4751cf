"""Spans sent over OTLP/HTTP. Imports OpenTelemetry, an extra: import this module only where tracing is asked for."""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanContext, StatusCode

from exporter import __version__
from exporter.redact import masked

SERVICE: Final = "anomaly-exporter"

log = structlog.get_logger()


class Tracing:
    """Opens spans and sends them in batches from a thread of its own, as the OTEL_* variables say."""

    def __init__(self) -> None:
        note_protocol("TRACES")
        # No shutdown at exit: that would wait for an unreachable collector; close() is bounded.
        self._provider = TracerProvider(resource=ours(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Patient(OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer(SERVICE, __version__)

    @contextmanager
    def span(self, name: str, job: str) -> Iterator[Span]:
        """Open a span below the active one; an error inside is recorded, masked, and passes through."""
        # The SDK itself would record messages and tracebacks as they are, secrets included.
        with self._tracer.start_as_current_span(
            name, attributes={"job": job}, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                kind, text = type(error).__name__, masked(str(error))
                span.add_event("exception", {"exception.type": kind, "exception.message": text})
                span.set_status(StatusCode.ERROR, f"{kind}: {text}")
                raise

    @staticmethod
    def context(span: object) -> SpanContext:
        """Return the ids of a span of ours."""
        assert isinstance(span, Span)
        return span.get_span_context()

    def close(self, timeout: float) -> None:
        """Send what is waiting, for at most `timeout` seconds."""
        # The SDK's shutdown waits up to 30 s for an unreachable collector; its threads are daemons and may be left.
        flush = threading.Thread(target=self._provider.shutdown, name="trace-flush", daemon=True)
        flush.start()
        flush.join(timeout)


def note_protocol(signal: str) -> None:
    """Log that TRACES or METRICS are sent as protobuf over HTTP, where another protocol was asked for."""
    protocols = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((os.environ[name] for name in protocols if os.environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        hint = "sent as http/protobuf, mostly port 4318"
        log.warning("otlp_protocol_unsupported", signal=signal.lower(), protocol=protocol, hint=hint)


def ours() -> Resource:
    """Return what the SDK says about this process, with our name where it was given none."""
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    return resource.merge(Resource({SERVICE_VERSION: __version__}))


class FirstWords(logging.Handler):
    """Keeps the first message of OpenTelemetry, which has the cause, instead of logging one at every attempt."""

    text = ""

    @classmethod
    def of_the_sdk(cls) -> "FirstWords":
        """Take all messages of the SDK, whoever takes them too."""
        words = cls(logging.WARNING)
        for name in ("opentelemetry.exporter", "opentelemetry.sdk"):
            library = logging.getLogger(name)
            library.addHandler(words)
            library.propagate = False
        return words

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message, if it is the first one."""
        self.text = self.text or record.getMessage()


class _Patient(SpanExporter):
    """Makes an unreachable collector worth one warning, and its return one line."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False
        self._words = FirstWords.of_the_sdk()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._words.text = ""
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            log.warning("traces_not_sent", error=self._words.text, hint="dropped until the collector answers again")
        elif self._failing and not failed:
            log.info("traces_recovered")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

"""Durations of a cycle and its stages, and, where OpenTelemetry is switched on, a trace of each cycle."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Literal, Protocol

from exporter.observe.metrics import SelfMetrics
from exporter.observe.otel_switch import asked_for

if TYPE_CHECKING:
    from exporter.observe.tracing import Tracing

Stage = Literal["fetch", "ahead", "prepare", "score", "decide", "publish", "learn"]
Measure = Callable[[Stage], AbstractContextManager[object]]
"""Returns a context in which a stage is measured."""


def unmeasured(_stage: Stage) -> AbstractContextManager[object]:
    """Measure nothing: backfilled samples are not part of a cycle's usual cost."""
    return nullcontext()


class TelemetryError(Exception):
    """Tracing was asked for and cannot be had. The message says what to install or unset."""


class Span(Protocol):
    """The part of a span that the cycle needs."""

    def set_attribute(self, key: str, value: str | bool | int | float) -> object:
        """Add a fact to the span, for example how many series were evaluated."""
        ...


class _NoSpan:
    def set_attribute(self, key: str, value: str | bool | int | float) -> None:
        """Nobody is tracing."""


_NO_SPAN: Final = _NoSpan()
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Telemetry:
    """Measures every cycle and stage, and traces them where the standard OTEL_* variables ask for it.

    Parameters
    ----------
    metrics : SelfMetrics
        Gets the durations.
    environ : mapping of str to str
        OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
        decide whether to trace; the OpenTelemetry SDK reads the rest from the environment of the process.

    Raises
    ------
    TelemetryError
        Tracing is switched on and its packages are missing.
    """

    def __init__(self, metrics: SelfMetrics, environ: Mapping[str, str] = os.environ) -> None:
        self._metrics = metrics
        self.newest: dict[str, dict[str, float]] = {}
        """Seconds that each stage took last, by job."""
        self._tracing = _tracing() if asked_for(environ, "trace", "OTEL_TRACES_EXPORTER", _ENDPOINTS) else None

    @contextmanager
    def cycle(self, job: str) -> Iterator[Span]:
        """Measure one cycle of `job`. What goes wrong inside is noted in its span and passes through."""
        with self._span("cycle", job) as span:
            began = time.perf_counter()
            try:
                yield span
            finally:
                took = time.perf_counter() - began
                self._metrics.cycle_seconds.labels(job).observe(took, self._trace_of(span))

    def _trace_of(self, span: Span) -> dict[str, str] | None:
        """Return the exemplar that leads from a duration to its trace, None where nobody is tracing."""
        if self._tracing is None:
            return None
        context = self._tracing.context(span)
        return {"trace_id": f"{context.trace_id:032x}"} if context.is_valid and context.trace_flags.sampled else None

    @contextmanager
    def stage(self, job: str, name: Stage) -> Iterator[Span]:
        """Measure one stage; in the thread of the cycle its span is a child of the cycle's."""
        began = time.perf_counter()
        try:
            with self._span(name, job) as span, self._metrics.stage_seconds.labels(job, name).time():
                yield span
        finally:
            self.newest.setdefault(job, {})[name] = time.perf_counter() - began

    def close(self, timeout: float = 5.0) -> None:
        """Send the spans still waiting, for at most `timeout` seconds."""
        if self._tracing is not None:
            self._tracing.close(timeout)

    def _span(self, name: str, job: str) -> AbstractContextManager[Span]:
        return nullcontext(_NO_SPAN) if self._tracing is None else self._tracing.span(name, job)


def _tracing() -> "Tracing":
    try:
        from exporter.observe.tracing import Tracing  # an extra that takes a second to import: only when asked for
    except ImportError as error:
        raise TelemetryError(
            f"tracing is switched on by an OTEL_* environment variable, but {error.name} is not installed; "
            "install it with: pip install 'anomaly-exporter[otel]', or switch tracing off with OTEL_SDK_DISABLED=true"
        ) from None
    return Tracing()

"""A stand-in for an OpenTelemetry collector: an OTLP/HTTP receiver that keeps what it got."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(ThreadingHTTPServer):
    """Keeps the requests; `status` is what it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.requests: list[ExportTraceServiceRequest] = []
        self.metric_requests: list[ExportMetricsServiceRequest] = []
        self.paths: set[str] = set()
        self.status = 200
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> dict[str, Span]:
        """Return the spans by name."""
        found = [s for r in self.requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]
        assert len({span.name for span in found}) == len(found)
        return {span.name: span for span in found}

    def metrics(self, name: str) -> list[Metric]:
        """Return the metrics of a name, in the order in which they came."""
        requests = list(self.metric_requests)
        every = [m for r in requests for rm in r.resource_metrics for sm in rm.scope_metrics for m in sm.metrics]
        return [metric for metric in every if metric.name == name]

    def resource(self) -> dict[str, str]:
        """Return what the sender says about itself."""
        first = self.requests[0].resource_spans if self.requests else self.metric_requests[0].resource_metrics
        return {a.key: a.value.string_value for a in first[0].resource.attributes}


class _Receive(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("metrics"):
            self.server.metric_requests.append(ExportMetricsServiceRequest.FromString(body))
        else:
            self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.server.paths.add(self.path)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Be quiet."""


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    with Collector() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()

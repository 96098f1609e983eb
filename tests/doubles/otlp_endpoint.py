"""An OTLP collector over HTTP that reads the real protobuf messages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What processes have pushed so far."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Span] = []
        #: The newest state of each metric.
        self.metrics: dict[str, Metric] = {}
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.raw = b""

    def take(self, path: str, body: bytes) -> None:
        self.raw += body
        if path == "/v1/traces":
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(plain(group.resource.attributes))
                self.spans += [span for scope in group.scope_spans for span in scope.spans]
        else:
            assert path == "/v1/metrics", path
            for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resources.append(plain(group.resource.attributes))
                for scope in group.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in scope.metrics}

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """A metric's points by their attributes: of a gauge its value, of a histogram count and sum."""
        metric = self.metrics.get(name)
        if metric is None:
            return {}
        if metric.HasField("gauge"):
            return {_key(point): point.as_double for point in metric.gauge.data_points}
        return {_key(point): (point.count, point.sum) for point in metric.histogram.data_points}


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes by name, as Python's own values."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


def _key(point: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(plain(point.attributes).items()))


@contextmanager
def otlp_endpoint() -> Iterator[Collector]:
    """A collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with guard:
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    guard = threading.Lock()
    collector = Collector(server.server_address[1])
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()

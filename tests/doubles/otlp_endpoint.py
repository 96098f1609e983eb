"""An OTLP collector over HTTP that reads the real protobuf messages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.local.http.manners import Response
from app.local.http.server import Request, RespondingServer


class Collector(RespondingServer):
    """What processes have pushed so far."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []
        #: The newest state of each metric.
        self.metrics: dict[str, Metric] = {}
        self.resources: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.raw = b""
        self._guard = threading.Lock()

    @property
    def url(self) -> str:
        return self.origin

    def respond(self, request: Request) -> Response:
        body = request.body
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self._guard:
            self.headers.append(request.headers)
            self._take(request.path, body)
        return Response(200, content_type="application/x-protobuf")

    def _take(self, path: str, body: bytes) -> None:
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

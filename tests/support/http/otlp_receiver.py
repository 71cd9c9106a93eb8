"""A receiver of traces, by OTLP over HTTP, as a collector is one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Received:
    """One span, as a receiver sees it."""

    def __init__(self, resource: Any, span: Any) -> None:
        self.service = _values(resource.attributes).get("service.name")
        self.name, self.trace_id, self.id, self.parent_id = span.name, span.trace_id, span.span_id, span.parent_span_id
        self.attributes = _values(span.attributes)
        self.start_ns, self.end_ns = span.start_time_unix_nano, span.end_time_unix_nano
        self.is_error = span.status.code == 2
        self.n_links = len(span.links)


def _values(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


def spans_of(request: bytes) -> Iterator[Received]:
    for of_resource in ExportTraceServiceRequest.FromString(request).resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Received(of_resource.resource, span)


class OtlpReceiver:
    """Listens on loopback, in threads of this process."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.headers: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                is_ours = self.path == "/v1/traces" and not self.headers.get("content-encoding")
                if is_ours:
                    receiver.headers.append({k.lower(): v for k, v in self.headers.items()})
                    receiver.spans += spans_of(body)
                self.send_response(200 if is_ours else 404)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def trace(self, trace_id: str) -> list[Received]:
        return [s for s in self.spans if s.trace_id.hex() == trace_id]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

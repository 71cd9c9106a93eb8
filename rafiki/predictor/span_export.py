"""Spans on their way out of a predictor, by OpenTelemetry's protocol over HTTP (OTLP). Loaded where traces are on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

import rafiki
from rafiki.messages import EnsembleMember, TracingSpec
from rafiki.tracing_setting import read_headers
from rafiki.utils.traces import Span, unpack

_SCOPE = InstrumentationScope("rafiki", rafiki.__version__)
_FLAGS = TraceFlags(TraceFlags.SAMPLED)
_KINDS = {
    "internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER,
}  # fmt: skip
_TIMEOUT_S = 5.0
_FLUSH_MS = 2000


def open_exporter(spec: TracingSpec) -> SpanExporter:
    """What sends spans to the endpoint."""
    headers = {} if spec.headers_file is None else read_headers(Path(spec.headers_file))
    return OTLPSpanExporter(endpoint=spec.endpoint, headers=headers, timeout=_TIMEOUT_S)


class SpanExport:
    """Sends spans in batches, from a thread of its own. What the receiver does not take in time is lost.

    Args:
        labels: what tells the predictor from others.
    """

    def __init__(self, exporter: SpanExporter, labels: Mapping[str, str]) -> None:
        self._processor = BatchSpanProcessor(exporter)
        self._labels = {**labels, "service.version": rafiki.__version__}
        self._resource = Resource({"service.name": "rafiki-predictor", **self._labels})
        self._of_workers: dict[str, Resource] = {}

    def add(self, span: Span) -> None:
        self._processor.on_end(_readable(span, self._resource))

    def add_of_worker(self, spans: Iterable[Span], member: EnsembleMember) -> None:
        """Spans that a worker of a member has told."""
        resource = self._of_workers.get(member.trial_id)
        if resource is None:
            told = {
                "service.name": "rafiki-worker",
                "rafiki.member": member.trial_id,
                "rafiki.model": member.model_name,
            }
            resource = self._of_workers[member.trial_id] = Resource({**self._labels, **told})
        for span in spans:
            self._processor.on_end(_readable(span, resource))

    def flush(self) -> None:
        """Send what is left; waits for it."""
        self._processor.force_flush(_FLUSH_MS)

    def close(self) -> None:
        """Send what is left, and end; waits for it."""
        self.flush()
        self._processor.shutdown()  # type: ignore[no-untyped-call]


def _context(trace_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote=False, trace_flags=_FLAGS
    )


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    status = Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error)
    return ReadableSpan(
        name=span.name, context=_context(span.trace_id, span.span_id),
        parent=None if span.parent_id is None else _context(span.trace_id, span.parent_id), resource=resource,
        attributes=span.attributes, links=[Link(_context(*unpack(link))) for link in span.links],
        kind=_KINDS[span.kind], status=status, start_time=span.start_ns, end_time=span.end_ns,
        instrumentation_scope=_SCOPE,
    )  # fmt: skip

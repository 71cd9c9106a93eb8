"""Spans that model code opens by OpenTelemetry's global interface, where its SDK can be imported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rafiki.utils.traces import Attribute, Span

_MOST = 48
"""Spans of one call of ``predict()``."""
_MOST_ATTRIBUTES = 32
_MOST_CHARS = 256


class ModelSpans(Protocol):
    """The SDK, set up for this process."""

    def within(self, trace_id: bytes, parent_id: bytes) -> contextlib.AbstractContextManager[list[Span]]:
        """Spans that end within the block, below the span that is named; the list is complete at its end."""
        ...


def open_model_spans() -> ModelSpans | None:
    """Set the SDK up; None where there is none."""
    try:
        return _set_up()
    except ImportError:
        return None


def _set_up() -> ModelSpans:
    from opentelemetry import context, trace
    from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

    def read(span: ReadableSpan, ids: trace.SpanContext) -> Span:
        parent = span.parent
        attributes: dict[str, Attribute] = {
            str(name): value if isinstance(value, (str, bool, int, float)) else str(value)[:_MOST_CHARS]
            for name, value in (span.attributes or {}).items()
        }
        is_error = span.status.status_code is trace.StatusCode.ERROR
        return Span(
            name=span.name[:_MOST_CHARS], trace_id=ids.trace_id.to_bytes(16, "big"),
            span_id=ids.span_id.to_bytes(8, "big"),
            parent_id=None if parent is None else parent.span_id.to_bytes(8, "big"), start_ns=span.start_time or 0,
            end_ns=span.end_time or 0, attributes=attributes,
            error=(span.status.description or "It failed.")[:_MOST_CHARS] if is_error else None,
        )  # fmt: skip

    class Collector(SpanProcessor):
        """Keeps what ends, up to a bound."""

        def __init__(self) -> None:
            self.ended: list[Span] = []

        def on_end(self, span: ReadableSpan) -> None:
            ids = span.get_span_context()
            if ids is not None and len(self.ended) < _MOST:
                self.ended.append(read(span, ids))

    class SdkSpans:
        def __init__(self, collector: Collector) -> None:
            self._collector = collector

        @contextlib.contextmanager
        def within(self, trace_id: bytes, parent_id: bytes) -> Iterator[list[Span]]:
            found: list[Span] = []
            # What a thread of the model left behind after its batch belongs to no trace that is told.
            self._collector.ended = found
            parent = trace.SpanContext(
                int.from_bytes(trace_id, "big"), int.from_bytes(parent_id, "big"), is_remote=False,
                trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
            )  # fmt: skip
            token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
            try:
                yield found
            finally:
                context.detach(token)
                self._collector.ended = []

    limits = SpanLimits(max_span_attributes=_MOST_ATTRIBUTES, max_span_attribute_length=_MOST_CHARS)
    # Outside of a batch that is traced nothing is recorded.
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), span_limits=limits, shutdown_on_exit=False)
    collector = Collector()
    provider.add_span_processor(collector)
    trace.set_tracer_provider(provider)
    return SdkSpans(collector)

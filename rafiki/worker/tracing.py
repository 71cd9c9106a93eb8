"""The spans of an inference worker. It has no network: they travel back with replies, and the predictor sends them.

A worker needs no library for its own spans. Where OpenTelemetry's SDK is among what it can import, spans that model
code opens within ``predict()`` by the global interface join them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from rafiki.messages import Query, Reply
from rafiki.utils.traces import Span, new_span_id, pack, unpack
from rafiki.worker.model_spans import ModelSpans


class _Part:
    """What one trace has in a batch."""

    def __init__(self, parent: bytes) -> None:
        self.trace_id, self.parent_id = unpack(parent)
        self.answer_id, self.predict_id = new_span_id(), new_span_id()
        self.query_ids: set[int] = set()


class BatchTrace:
    """One batch with queries that are traced."""

    def __init__(self, parts: Mapping[bytes, _Part], size: int, taken_ns: int, model_spans: ModelSpans | None) -> None:
        """
        Args:
            parts: by what their queries carry.
            size: queries in the batch, traced or not.
            taken_ns: when the first of them was taken.
        """
        self._parts = list(parts.values())
        self._size, self._taken_ns = size, taken_ns
        self._model_spans = model_spans
        self._began_ns, self._ended_ns = 0, 0
        self._of_model: list[Span] = []

    @contextlib.contextmanager
    def predicting(self) -> Iterator[None]:
        """The batch is predicted within the block. Spans of model code join the first trace: a call has one parent."""
        first = self._parts[0]
        self._began_ns = time.time_ns()
        try:
            if self._model_spans is None:
                yield
            else:
                with self._model_spans.within(first.trace_id, first.predict_id) as of_model:
                    yield
                self._of_model = of_model
        finally:
            self._ended_ns = time.time_ns()

    def add_to(self, replies: Mapping[str, list[Reply]]) -> None:
        """Let the spans travel with the first reply of each trace."""
        now_ns = time.time_ns()
        for i, part in enumerate(self._parts):
            spans = [*self._spans_of(part, now_ns), *(self._of_model if i == 0 else [])]
            for batch in replies.values():
                at = next((at for at, reply in enumerate(batch) if reply.query_id in part.query_ids), None)
                if at is not None:
                    batch[at] = msgspec.structs.replace(batch[at], spans=spans)
                    break

    def _spans_of(self, part: _Part, now_ns: int) -> list[Span]:
        waited_ms = round((self._began_ns - self._taken_ns) / 1e6, 3)
        others = [pack(other.trace_id, other.predict_id) for other in self._parts if other is not part]
        return [
            Span(
                name="answer", trace_id=part.trace_id, span_id=part.answer_id, parent_id=part.parent_id,
                start_ns=self._taken_ns, end_ns=now_ns, kind="consumer",
                attributes={"rafiki.queries": len(part.query_ids), "rafiki.batch.wait_ms": waited_ms},
            ),
            Span(
                name="predict", trace_id=part.trace_id, span_id=part.predict_id, parent_id=part.answer_id,
                start_ns=self._began_ns, end_ns=self._ended_ns, attributes={"rafiki.batch.size": self._size},
                links=others,
            ),
        ]  # fmt: skip


class WorkerTracing:
    """Of one inference worker.

    Args:
        model_spans: set up before model code is loaded; None = what model code opens is not seen.
    """

    def __init__(self, model_spans: ModelSpans | None) -> None:
        self._model_spans = model_spans

    def find_batch(self, queries: Sequence[Query], taken_ns: int) -> BatchTrace | None:
        """The traces of a batch; None when no query of it has one.

        Args:
            taken_ns: when the first of them was taken, in Unix nanoseconds.
        """
        parts: dict[bytes, _Part] = {}
        for query in queries:
            if query.trace:
                parts.setdefault(query.trace, _Part(query.trace)).query_ids.add(query.query_id)
        return BatchTrace(parts, len(queries), taken_ns, self._model_spans) if parts else None

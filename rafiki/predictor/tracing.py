"""The traces of a predictor: which requests have one, and its spans. Exists only where ``tracing.endpoint`` is set."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rafiki.messages import EnsembleMember, PredictorSpec
from rafiki.predictor.current_trace import CURRENT_TRACE
from rafiki.predictor.span_export import SpanExport, open_exporter
from rafiki.utils.traces import (
    SPAN_BYTES,
    TRACE_BYTES,
    Attribute,
    Span,
    new_span_id,
    new_trace_id,
    pack,
    parse_traceparent,
)

if TYPE_CHECKING:
    from starlette.types import Message, Scope, Send

_MOST_PER_S = 200
"""Traces begun in a second: a stranger may say in a header that theirs is wanted."""
MOST_SPANS = 64
"""Of one reply: model code may open spans of its own."""
_MOST_LINKS = 512
_MOST_ATTRIBUTES = 64
_MOST_CHARS = 1000


class MemberTrace:
    """The part of a request's trace that is one member's."""

    __slots__ = ("is_seen", "last_ns", "member", "n_failed", "span_id", "start_ns")

    def __init__(self, member: EnsembleMember, start_ns: int) -> None:
        self.member, self.start_ns = member, start_ns
        self.span_id = new_span_id()
        self.last_ns = 0
        """When its last reply came."""
        self.n_failed = 0
        self.is_seen = False
        """Whether a worker has told when it took a query of it."""


class RequestTrace:
    """One request that is traced. For the predictor's event loop."""

    def __init__(self, tracing: Tracing, trace_id: bytes, parent_id: bytes | None) -> None:
        self._tracing = tracing
        self.trace_id, self._parent_id, self._span_id = trace_id, parent_id, new_span_id()
        self._start_ns = time.time_ns()
        self._of_version: Sequence[EnsembleMember] = ()
        self._members: dict[int, MemberTrace] = {}
        self._attributes: dict[str, Attribute] = {}

    def choose(self, members: Sequence[EnsembleMember], job_id: str, app_version: int | None) -> None:
        """A version is to answer."""
        self._of_version = members
        self._attributes["rafiki.inference_job"] = job_id
        if app_version is not None:
            self._attributes["rafiki.version"] = app_version

    def ask(self, columns: Sequence[int], n_queries: int) -> dict[int, bytes]:
        """Members are asked; what their queries carry, by column."""
        self._attributes["rafiki.queries"] = n_queries
        now_ns = time.time_ns()
        self._members = {column: MemberTrace(self._of_version[column], now_ns) for column in columns}
        left_out = [m.model_name for column, m in enumerate(self._of_version) if column not in self._members]
        if left_out:
            self._attributes["rafiki.not_asked"] = ", ".join(left_out)
        return {column: pack(self.trace_id, self._members[column].span_id) for column in columns}

    def add_reply(self, column: int, is_ok: bool, spans: Sequence[Span]) -> None:
        """A member has answered a query."""
        asked = self._members[column]
        asked.last_ns = time.time_ns()
        asked.n_failed += not is_ok
        if spans:
            self._take(asked, spans)

    def _take(self, asked: MemberTrace, spans: Sequence[Span]) -> None:
        """What a worker tells of itself. It runs model code: spans of other traces are not its to tell."""
        own = [span for span in spans[:MOST_SPANS] if span.trace_id == self.trace_id and _is_sound(span)]
        if not asked.is_seen and (first := next((s for s in own if s.parent_id == asked.span_id), None)) is not None:
            asked.is_seen = True
            self._export(
                "queue", asked.start_ns, max(asked.start_ns, min(first.start_ns, asked.last_ns)), asked.span_id,
                {"rafiki.member": asked.member.trial_id},
            )  # fmt: skip
        self._tracing.export.add_of_worker(own, asked.member)

    def end_asking(self) -> None:
        """All that members will answer has come."""
        now_ns = time.time_ns()
        for asked in self._members.values():
            is_late = not asked.last_ns
            self._tracing.export.add(
                Span(
                    name=f"ask {asked.member.model_name}", trace_id=self.trace_id, span_id=asked.span_id,
                    parent_id=self._span_id, start_ns=asked.start_ns, end_ns=asked.last_ns or now_ns, kind="client",
                    attributes={"rafiki.member": asked.member.trial_id, "rafiki.model": asked.member.model_name},
                    error="It did not answer in time." if is_late
                    else "It failed, or refused a query." if asked.n_failed else None,
                )
            )  # fmt: skip

    def until_answered(self, scope: Scope, send: Send) -> Send:
        """``send``, which ends the trace with the answer."""
        status = 0

        async def traced(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)
            if message["type"] == "http.response.body":
                self._end(scope["method"], scope["path"], status)

        return traced

    def _end(self, method: str, path: str, status: int) -> None:
        """The request is answered."""
        self._attributes |= {
            "http.request.method": method, "url.path": path, "http.response.status_code": status,
        }  # fmt: skip
        self._tracing.export.add(
            Span(
                name=f"{method} {path}", trace_id=self.trace_id, span_id=self._span_id, parent_id=self._parent_id,
                start_ns=self._start_ns, end_ns=time.time_ns(), kind="server", attributes=self._attributes,
                error=f"HTTP status {status}" if status >= 500 else None,
            )
        )  # fmt: skip

    def _export(
        self, name: str, start_ns: int, end_ns: int, parent_id: bytes, attributes: dict[str, Attribute]
    ) -> None:
        self._tracing.export.add(
            Span(
                name=name, trace_id=self.trace_id, span_id=new_span_id(), parent_id=parent_id, start_ns=start_ns,
                end_ns=end_ns, attributes=attributes,
            )
        )  # fmt: skip


def _is_sound(span: Span) -> bool:
    """Whether it can be sent: one that cannot would take others of its batch with it."""
    ids = [span.span_id] if span.parent_id is None else [span.span_id, span.parent_id]
    return (
        all(len(i) == SPAN_BYTES and any(i) for i in ids)
        and all(len(link) == TRACE_BYTES + SPAN_BYTES for link in span.links)
        and 0 <= span.start_ns <= span.end_ns < 1 << 63
        and len(span.links) <= _MOST_LINKS
        and len(span.attributes) <= _MOST_ATTRIBUTES
        and all(map(_is_short, [span.name, span.error, *span.attributes, *span.attributes.values()]))
    )


def _is_short(value: Attribute | None) -> bool:
    if isinstance(value, str):
        return len(value) <= _MOST_CHARS
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 63


class Tracing:
    """Of one predictor.

    Args:
        ratio: the share of requests that are traced where they do not say so themselves, 0 to 1.
    """

    def __init__(self, ratio: float, export: SpanExport) -> None:
        self.export = export
        self._ratio = ratio
        self._second, self._n_begun = 0, 0

    def begin(self, scope: Scope, send: Send) -> Send:
        """A request comes: where it is traced, its trace is the task's from now on, until ``send`` ends it with the
        answer. Whoever sends ``traceparent`` decides; else chance does."""
        trace = self._begin(scope)
        CURRENT_TRACE.set(trace)
        return send if trace is None else trace.until_answered(scope, send)

    def _begin(self, scope: Scope) -> RequestTrace | None:
        header = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
        parent = None if header is None else parse_traceparent(header)
        is_wanted = random.random() < self._ratio if parent is None else parent.is_sampled
        if not is_wanted or not self._has_room():
            return None
        if parent is None:
            return RequestTrace(self, new_trace_id(), None)
        return RequestTrace(self, parent.trace_id, parent.span_id)

    def _has_room(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._n_begun = second, 0
        self._n_begun += 1
        return self._n_begun <= _MOST_PER_S


def open_tracing(spec: PredictorSpec) -> Tracing | None:
    """What a predictor's spec asks for; None where it asks for nothing."""
    if spec.tracing is None:
        return None
    labels = {"rafiki.app": spec.app, "service.instance.id": spec.service_id}
    return Tracing(spec.tracing.ratio, SpanExport(open_exporter(spec.tracing), labels))

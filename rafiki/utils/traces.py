"""Spans of distributed traces, as they travel between processes, and the W3C header ``traceparent``.

A worker needs no library for them: predictors export them (:mod:`rafiki.predictor.span_export`).
"""

from __future__ import annotations

import os
import re
from typing import Literal

import msgspec

TRACE_BYTES, SPAN_BYTES = 16, 8
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1

Attribute = str | bool | int | float


class Span(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A part of a trace that has ended. Times are Unix nanoseconds, by the clock of its host."""

    name: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    start_ns: int
    end_ns: int
    kind: Literal["internal", "server", "client", "consumer"] = "internal"
    attributes: dict[str, Attribute] = {}
    error: str | None = None
    """Why it failed; None = it did not."""
    links: list[bytes] = []
    """Spans that shared the work, each as :func:`pack`."""


class Parent(msgspec.Struct, frozen=True):
    """What ``traceparent`` says of a request."""

    trace_id: bytes
    span_id: bytes
    is_sampled: bool


def parse_traceparent(header: bytes) -> Parent | None:
    """What a header says; None where it says nothing that counts (https://www.w3.org/TR/trace-context, version 1)."""
    found = _TRACEPARENT.fullmatch(header.strip())
    if found is None:
        return None
    version, trace_id, span_id = found[1], bytes.fromhex(found[2].decode()), bytes.fromhex(found[3].decode())
    if version == b"ff" or (version == b"00" and found[5]) or not any(trace_id) or not any(span_id):
        return None
    return Parent(trace_id, span_id, bool(int(found[4], 16) & _SAMPLED))


def new_trace_id() -> bytes:
    return os.urandom(TRACE_BYTES)


def new_span_id() -> bytes:
    return os.urandom(SPAN_BYTES)


def pack(trace_id: bytes, span_id: bytes) -> bytes:
    """A span, as queries name their parent."""
    return trace_id + span_id


def unpack(packed: bytes) -> tuple[bytes, bytes]:
    """The ids of a trace and a span."""
    return packed[:TRACE_BYTES], packed[TRACE_BYTES:]

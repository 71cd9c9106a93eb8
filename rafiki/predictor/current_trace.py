"""The trace of the request that a task answers; apart, so that a predictor without traces loads nothing for it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rafiki.predictor.tracing import RequestTrace

CURRENT_TRACE: ContextVar[RequestTrace | None] = ContextVar("current_trace", default=None)

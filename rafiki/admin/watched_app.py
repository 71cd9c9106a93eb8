"""Counts the requests to the admin, around its application: whatever answers them."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from rafiki.admin.counters import OTHER, AdminCounters
from rafiki.contract.access_log import watch_answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALL_KEY = "rafiki.call"
"""In the scope of a request: the name of the endpoint that it is for."""
USER_KEY = "rafiki.user"
"""The id of the user who calls."""
STREAM_KEY = "rafiki.stream"
"""Whether it is answered by a stream, which lasts as long as somebody listens."""


class WatchedApp:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, counters: AdminCounters, *, has_log: bool = False) -> None:
        """
        Args:
            has_log: whether requests are logged, too.
        """
        self._app, self._counters, self._has_log = app, counters, has_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 0
        if self._has_log:
            send = watch_answer(scope, send, lambda: scope.get(USER_KEY))

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            took_s = perf_counter() - began
            self._counters.add_request(scope.get(CALL_KEY, OTHER), status, None if scope.get(STREAM_KEY) else took_s)

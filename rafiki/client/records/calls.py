"""What the nouns of the typed client share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from rafiki.client.connection import AdminConnection
from rafiki.client.contract_caller import Away
from rafiki.client.http_server import WATCH_PATIENCE_S, Progress
from rafiki.contract.endpoint import Answer, Endpoint, Request


class Calls(AdminConnection):
    """Base of the nouns."""

    def _call(self, endpoint: Endpoint[Request, Answer], request: Request, progress: Progress | None = None) -> Answer:
        return self._caller.call(endpoint, request, progress=progress)

    def _watch(
        self,
        endpoint: Endpoint[Request, Answer],
        request: Request,
        *,
        patience_s: float = WATCH_PATIENCE_S,
        stop: threading.Event | None = None,
    ) -> Iterator[Answer | Away]:
        return self._caller.watch(endpoint, request, patience_s=patience_s, stop=stop)

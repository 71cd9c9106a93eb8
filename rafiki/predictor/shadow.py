"""A version that is asked with copies of requests: its answers are compared with those that were given."""

from __future__ import annotations

import asyncio
from time import perf_counter

from rafiki.errors import RafikiError
from rafiki.predictor.agreement import do_agree
from rafiki.predictor.current_trace import CURRENT_TRACE
from rafiki.predictor.protocol import Asked
from rafiki.predictor.version import Version

_ANSWERED = 200
_MOST_IN_HAND = 64
"""Copies at the same time; a shadow that is slower than the version that answers must not pile them up."""


class Shadow:
    """For the predictor's event loop."""

    def __init__(self) -> None:
        self.compared = 0
        self.agreed = 0
        self.skipped = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, version: Version, asked: Asked, given: bytes) -> None:
        """Ask ``version`` what another one has answered with ``given``. Nobody waits for it."""
        if len(self._tasks) >= _MOST_IN_HAND:
            self.skipped += 1
            return
        task = asyncio.create_task(self._compare(version, asked, given))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self, version: Version, asked: Asked, given: bytes) -> None:
        started = perf_counter()
        # The trace is that of the answer that is given.
        CURRENT_TRACE.set(None)
        try:
            answer = await version.predict(asked, started)
        except RafikiError as e:
            version.meter.add(e.http_status, perf_counter() - started)
            return
        version.meter.add(_ANSWERED, perf_counter() - started)
        self.compared += 1
        self.agreed += do_agree(answer, given)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

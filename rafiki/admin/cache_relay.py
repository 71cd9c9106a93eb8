"""A door to a cache that somebody else runs: a Unix socket, for boxes that share no network with this machine.

The private cache listens at such a socket itself. Bytes pass as they are: who comes in shows the credential of its job.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from socket import socket

from rafiki.messages import CacheAddress

_logger = logging.getLogger(__name__)
_PIECE_BYTES = 1 << 16
_CONNECT_TIMEOUT_S = 5.0


class CacheRelay:
    """Passes connections on, in a thread of its own, until it is closed."""

    def __init__(self, door: socket, cache: CacheAddress, tls: ssl.SSLContext | None) -> None:
        """
        Args:
            door: listens.
            cache: where connections go.
            tls: how the cache is spoken to; None = in the clear.
        """
        self._door = door
        self._cache = cache
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="cache-relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections. The socket's file stays: another admin may have made it anew."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_CONNECT_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._pass_on, sock=self._door)
        await self._end.wait()
        server.close()
        passing = asyncio.all_tasks() - {asyncio.current_task()}
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        # What they closed is closed in the next turn.
        await asyncio.sleep(0)

    async def _pass_on(self, inside: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                answers, outside = await asyncio.open_connection(self._cache.host, self._cache.port, ssl=self._tls)
        except (OSError, TimeoutError) as e:
            # Who is in the box sees a connection that breaks, and tries again, as with a cache that is away.
            _logger.debug("cache relay: %s:%s: %s", self._cache.host, self._cache.port, e)
            back.close()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(inside, outside))
                both.create_task(_pump(answers, back))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            back.close()
            outside.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until one side ends; then the other ends, too."""
    while piece := await source.read(_PIECE_BYTES):
        sink.write(piece)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.close()
    raise ConnectionResetError

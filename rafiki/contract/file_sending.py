"""Sends files to clients without their bytes passing Python: the kernel copies from the file to the socket.

A thread of its own does that for each transfer, so that neither a slow disk nor a slow client holds up the event loop.
Where the server of a request cannot do so (TLS, another server) the file is read and sent in pieces.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

EXTENSION = "rafiki.send_file"
"""Among ``scope["extensions"]``: a :data:`SendFile`."""
PIECE_BYTES = 1 << 20
_SILENCE_S = 60.0
"""How long a client may take nothing."""
_MOST_AT_ONCE_BYTES = 1 << 30

SendFile = Callable[[Message, int, int, int], Awaitable[None]]
"""Sends a start of a response, and then of a file (its descriptor) so many bytes from an offset on."""


class FileResponse(Response):
    """Bytes of a file, from ``start`` to before ``end``."""

    def __init__(self, path: Path, start: int, end: int, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status_code=status, media_type="application/octet-stream")
        self._path, self._start, self._end = path, start, end
        self.headers.update({**headers, "content-length": str(end - start)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        file = await run_in_threadpool(os.open, self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            send_file: SendFile | None = scope.get("extensions", {}).get(EXTENSION)
            if send_file is not None and self._end > self._start:
                await send_file(begin, file, self._start, self._end - self._start)
                return
            await send(begin)
            offset = self._start
            while offset < self._end:
                piece = await run_in_threadpool(os.pread, file, min(PIECE_BYTES, self._end - offset), offset)
                if not piece:
                    raise OSError(f"{self._path} became shorter while it was sent.")
                offset += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(file)


async def pump(connected: socket.socket, file: int, offset: int, count: int) -> None:
    """Copy bytes of a file to a socket, which stays open.

    Raises:
        OSError: when the client goes, or takes nothing for too long, or the file ends.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: OSError | None) -> None:
        if not ended.done():
            ended.set_result(None) if error is None else ended.set_exception(error)

    def run() -> None:
        error: OSError | None = None
        try:
            _copy(connected.fileno(), file, offset, count)
        except OSError as e:
            error = e
        loop.call_soon_threadsafe(tell, error)

    thread = threading.Thread(target=run, name="send file", daemon=True)
    thread.start()
    try:
        await ended
    except asyncio.CancelledError:
        # The server ends: so does the copying, before anybody closes what it works with.
        connected.shutdown(socket.SHUT_RDWR)
        await run_in_threadpool(thread.join)
        raise


def _copy(to: int, file: int, offset: int, count: int) -> None:
    writable = select.poll()
    writable.register(to, select.POLLOUT)
    while count > 0:
        try:
            sent = os.sendfile(to, file, offset, min(count, _MOST_AT_ONCE_BYTES))
        except BlockingIOError:
            if not writable.poll(1000 * _SILENCE_S):
                raise TimeoutError("the client takes nothing") from None
            continue
        if sent == 0:
            raise OSError("the file became shorter while it was sent")
        offset, count = offset + sent, count - sent

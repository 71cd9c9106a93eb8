"""The part of the HTTP protocol by which the kernel sends files (see :mod:`rafiki.contract.file_sending`)."""

from __future__ import annotations

import contextlib
import functools
import os
import socket

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from rafiki.contract.file_sending import EXTENSION, pump


class FileProtocol(HttpToolsProtocol):
    """As uvicorn's with httptools; its requests without TLS have the extension."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.scheme == "http":
            # Of this server, so it may be a function; of this request: a client may have sent others ahead.
            send_file = functools.partial(self._send_file, self.cycle)
            self.scope["extensions"] = {EXTENSION: send_file}  # type: ignore[dict-item]

    async def _send_file(self, cycle: RequestResponseCycle, begin: Message, file: int, offset: int, count: int) -> None:
        transport, flow = self.transport, self.flow
        # The headers have to be gone before the kernel sends what follows them.
        transport.set_write_buffer_limits(high=0)
        try:
            await cycle.send(begin)  # type: ignore[arg-type]
            if flow.write_paused:
                await flow.drain()
        finally:
            transport.set_write_buffer_limits()
        if cycle.disconnected:
            return
        with contextlib.closing(socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))) as connected:
            try:
                await pump(connected, file, offset, count)
            except OSError:
                # The client has gone, or is as good as gone: it asks again for what is missing.
                cycle.disconnected = True
                transport.abort()
                return
        cycle.expected_content_length -= count
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})

"""The socket of the service door, apart from the admin's own: it is where other hosts are, and serves nothing else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from socket import socket
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette

from rafiki.container.base import Address
from rafiki.contract.http_protocol import serve_guarded
from rafiki.errors import StackError
from rafiki.settings import HttpConfig
from rafiki.utils.files import read_text, write_private
from rafiki.utils.sockets import listen

if TYPE_CHECKING:
    from rafiki.admin.advertised import Advertised
    from rafiki.admin.authority import ServerTls
    from rafiki.admin.service_door import AdminServiceDoor
    from rafiki.stack_folder import StackFolder

_logger = logging.getLogger(__name__)


class DoorListener:
    """Where services come in, listening from the beginning; :meth:`server` serves there."""

    def __init__(self, sock: socket, host: str, tls: ServerTls | None) -> None:
        self._sock = sock
        self._tls = tls
        self.url = f"{'https' if tls else 'http'}://{Address(host, sock.getsockname()[1])}"
        self.authorities = tls.authorities if tls else None

    def server(self, door: AdminServiceDoor) -> DoorServer:
        """What serves the door's routes, and nothing else."""
        config = uvicorn.Config(
            Starlette(routes=door.routes()), http=serve_guarded(HttpConfig()), ws="none", lifespan="off",
            access_log=False, log_level="warning", log_config=None, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=3, ssl_certfile=self._tls.certificate if self._tls else None,
            ssl_keyfile=self._tls.key if self._tls else None,
        )  # fmt: skip
        return DoorServer(config, self._sock)

    def close(self) -> None:
        self._sock.close()


class DoorServer(uvicorn.Server):
    """Leaves the signals to the admin, and ends with it."""

    def __init__(self, config: uvicorn.Config, sock: socket) -> None:
        super().__init__(config)
        self._sock = sock

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def run_until_ended(self) -> None:
        """Serve until :meth:`end`."""
        await self.serve(sockets=[self._sock])

    def end(self) -> None:
        self.should_exit = True


def open_door(folder: StackFolder, at: Advertised, wanted_port: int, tls: ServerTls | None) -> DoorListener:
    """Listen for services.

    Args:
        wanted_port: ``cluster.port``; 0 = the one of the last time, else any.

    Raises:
        StackError: the port is taken.
    """
    kept = (read_text(folder.door_port_file) or "").strip()
    sock = None
    if not wanted_port and kept.isdecimal():
        with contextlib.suppress(OSError, OverflowError):
            sock = listen(at.host, int(kept))
    if sock is None:
        try:
            sock = listen(at.host, wanted_port)
        except OSError as e:
            raise StackError(
                f"Services of other hosts cannot come in at {Address(at.host, wanted_port)}: {e.strerror}. Choose "
                "another port with cluster.port in rafiki.yaml."
            ) from e
    if (found := str(sock.getsockname()[1])) != kept:
        write_private(folder.door_port_file, f"{found}\n")
    opened = DoorListener(sock, at.host, tls)
    _logger.info("door: services of other hosts come in at %s", opened.url)
    return opened

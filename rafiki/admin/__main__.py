"""The admin's process. When it cannot start, it logs the error and exits with the error's code."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import signal
import sys
from socket import socket
from typing import IO

import uvicorn
from starlette.types import ASGIApp

from rafiki import __version__
from rafiki.admin.app import make_app, make_door_app
from rafiki.admin.box_doors import BoxDoors
from rafiki.admin.door_listener import DoorServer
from rafiki.admin.entrance import open_entrance
from rafiki.admin.events import EventHub
from rafiki.admin.folder_watch import FolderWatch
from rafiki.admin.log_keeper import LogKeeper
from rafiki.admin.settling import end_what_was_moved, settle
from rafiki.admin.stack import build_stack
from rafiki.admin.watched_app import WatchedApp
from rafiki.config import load_config
from rafiki.constants import ExitCode
from rafiki.container.base import Address
from rafiki.contract.cors import with_cors
from rafiki.contract.http_guard import allow_many_connections
from rafiki.contract.http_headers import VERSION_HEADER
from rafiki.contract.http_protocol import serve_guarded
from rafiki.contract.http_tls import renew
from rafiki.errors import RafikiError, StackDownError, StackError
from rafiki.settings import DEFAULT_ADMIN_PORT, HttpConfig
from rafiki.stack_folder import StackFolder
from rafiki.utils import collector
from rafiki.utils.addresses import is_loopback
from rafiki.utils.certificates import CertificateFiles
from rafiki.utils.files import write_private
from rafiki.utils.logs import log_unexpected, set_up_logging
from rafiki.utils.paths import why
from rafiki.utils.pid_file import HAND_OVER_SIGNAL, STACK_VARIABLE, PidFile, handle_of
from rafiki.utils.sockets import listen

_logger = logging.getLogger("rafiki.admin")


_NEXT_PORTS = range(DEFAULT_ADMIN_PORT + 1, DEFAULT_ADMIN_PORT + 100)
"""Tried when the usual port is taken: they are easier to remember than those that the kernel hands out."""


def _listen(host: str, port: int) -> socket:
    try:
        return listen(host, port)
    except OSError as e:
        raise StackError(
            f"Cannot listen on {host}:{port}: {e.strerror}. Choose another port with admin.port in rafiki.yaml, or "
            "`rafiki up --port`."
        ) from e


def _listen_somewhere(host: str, folder: StackFolder) -> socket:
    """A socket on the port that this stack had, else the usual one, else a free one, which is kept for later starts."""
    kept = folder.kept_admin_port
    for port in [*([kept] if kept else []), DEFAULT_ADMIN_PORT, *_NEXT_PORTS]:
        with contextlib.suppress(OSError):
            sock = listen(host, port)
            break
    else:
        sock = _listen(host, 0)
    if (found := sock.getsockname()[1]) != kept:
        write_private(folder.admin_port_file, f"{found}\n")
    return sock


def _lock(folder: StackFolder) -> IO[bytes]:
    """Held while this process lives: one admin a stack."""
    file = (folder.run / "admin.lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        raise StackError(f"Another admin of this stack runs already ({folder.root}).") from e
    return file


class _Door:
    """Serves boxes of this machine, at a Unix socket, with what services may call and nothing else."""

    def __init__(self, config: uvicorn.Config, doors: BoxDoors) -> None:
        """
        Raises:
            OSError: when the socket cannot be made.
        """
        self._config, self._doors, self._sock = config, doors, doors.listen_for_admin()

    async def open(self, server: uvicorn.Server) -> None:
        self._config.load()
        await self._serve(server, self._sock)
        loop = asyncio.get_running_loop()

        def serve_too(sock: socket) -> None:
            asyncio.run_coroutine_threadsafe(self._serve(server, sock), loop)

        self._doors.serve_admin_with(serve_too)

    async def _serve(self, server: uvicorn.Server, sock: socket) -> None:
        served = await asyncio.get_running_loop().create_unix_server(
            lambda: self._config.http_protocol_class(  # type: ignore[call-arg]
                config=self._config, server_state=server.server_state, app_state={}
            ),
            sock=sock,
        )
        # The server ends with the others.
        server.servers.append(served)


class _Server(uvicorn.Server):
    """Leaves its pid file once it listens; ends the streams of events, which have no end of their own, with itself.

    :data:`HAND_OVER_SIGNAL` ends it too, and says that another admin takes over what runs.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        folder: StackFolder,
        host: str,
        port: int,
        hub: EventHub,
        door: _Door | None,
        certificate: CertificateFiles | None,
        watch: FolderWatch,
    ) -> None:
        super().__init__(config)
        self._watch = watch
        self._door = door
        self._folder, self._host, self._port, self._hub = folder, host, port, hub
        self._certificate = certificate
        self._ended = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None
        self.is_handing_over = False
        self.is_folder_deleted = False

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self._door is not None:
            await self._door.open(self)
        asyncio.get_running_loop().add_signal_handler(HAND_OVER_SIGNAL, self._hand_over)
        pid_file = PidFile(
            process=handle_of(os.getpid()), host=self._host, port=self._port, stack_root=str(self._folder.root),
            details={"certificate": self._certificate.certificate} if self._certificate else {},
        )  # fmt: skip
        if self._certificate is not None and self.config.ssl is not None:
            self._renewing = asyncio.create_task(renew(self._certificate, self.config.ssl, self._ended))
        try:
            pid_file.save(self._folder.admin_pid_file)
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # What runs is adopted and looked after all the same; commands find this admin when there is space.
            _logger.warning(
                "admin: no space is left for %s: commands find it when there is", self._folder.admin_pid_file
            )
            self._watch.note_admin(pid_file)

    def _hand_over(self) -> None:
        self.is_handing_over = self.should_exit = True

    def leave_deleted_folder(self) -> None:
        """From any thread: the stack is no more."""
        self.is_folder_deleted = self.should_exit = True

    def _last_word(self) -> RafikiError | None:
        if self.is_folder_deleted:
            return StackDownError(f"The stack in {self._folder.root} has ended, because that folder was deleted.")
        return None if self.is_handing_over else StackDownError()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._ended.set()
        await self._hub.close(self._last_word())
        await super().shutdown(sockets)


def _serving(app: ASGIApp, http: HttpConfig, certificate: CertificateFiles | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        with_cors(app, http.cors_origins), http=serve_guarded(http), loop="uvloop", ws="none", lifespan="off",
        access_log=False, log_level="warning", log_config=None, server_header=False, timeout_graceful_shutdown=3,
        headers=[(VERSION_HEADER, __version__)], ssl_certfile=certificate.certificate if certificate else None,
        ssl_keyfile=certificate.key if certificate else None, proxy_headers=bool(http.trusted_proxies),
        forwarded_allow_ips=http.trusted_proxies,
    )  # fmt: skip


async def _serve(server: _Server, sock: socket, door: DoorServer | None) -> None:
    """Serve until the admin's own server ends."""
    if door is None:
        await server.serve(sockets=[sock])
        return
    serving = asyncio.create_task(door.run_until_ended())
    try:
        await server.serve(sockets=[sock])
    finally:
        door.end()
        await serving


def run() -> None:
    """Serve until SIGTERM or SIGINT, then end everything that belongs to the stack; or until :data:`HAND_OVER_SIGNAL`,
    then leave it running.

    Raises:
        RafikiError: when the stack cannot start.
    """
    loaded = load_config()
    settings, folder = loaded.config.admin, StackFolder(loaded)
    set_up_logging(loaded.config.logging.format, loaded.config.logging.level, kind="admin")
    loaded.check_registered()
    folder.create()
    os.environ[STACK_VARIABLE] = str(folder.root)
    end_what_was_moved(folder)
    lock = _lock(folder)
    certificate = folder.tls.server()
    identity = settle(loaded, folder)
    if settings.port is None:
        sock = _listen_somewhere(settings.host, folder)
    else:
        sock = _listen(settings.host, settings.port)
    entrance = open_entrance(
        loaded, folder, Address(settings.host, sock.getsockname()[1]), is_admin_tls=certificate is not None
    )
    context = build_stack(loaded, identity, entrance)
    allow_many_connections()
    context.supervisor.start()
    context.health.start()
    logs = LogKeeper(folder.logs, loaded.config.logging.max_file_mb << 20)
    logs.start()
    host, port = sock.getsockname()[:2]
    http = loaded.config.http
    door = _Door(_serving(make_door_app(context), http), context.doors) if context.doors else None
    config = _serving(WatchedApp(make_app(context), context.counters, has_log=http.access_log), http, certificate)
    watch = FolderWatch(folder, identity.id, context.doors.mend if context.doors else lambda: None)
    server = _Server(config, folder, settings.host, port, context.hub, door, certificate, watch)
    watch.start(server.leave_deleted_folder)
    if certificate is None and not is_loopback(settings.host):
        _logger.warning("The admin listens on %s without TLS, as tls.insecure says.", settings.host)
    scheme = "https" if certificate else "http"
    context.courier.start(f"{scheme}://{Address(host, port)}")
    _logger.info("admin: listens on %s://%s:%s, stack %s", scheme, host, port, folder.root)
    # uvicorn raises the signal that ended it once more; the orderly end comes after that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        import uvloop

        collector.keep_what_is_loaded()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(server, sock, entrance.listener.server(context.door) if entrance.listener else None))
    except KeyboardInterrupt:
        pass
    finally:
        logs.shut_down()
        context.courier.shut_down()
        context.health.shut_down()
        watch.close()
        if server.is_folder_deleted:
            context.supervisor.hand_over()
            watch.end_services(loaded.config)
        elif server.is_handing_over:
            _logger.info("admin: hands over to another admin; the services of jobs go on")
            context.supervisor.hand_over()
        else:
            _logger.info("admin: shuts down")
            context.supervisor.shut_down()
        if context.doors is not None:
            context.doors.close()
        context.store.close()
        if not server.is_folder_deleted:
            folder.admin_pid_file.unlink(missing_ok=True)
        lock.close()


def main() -> int:
    if sys.argv[1:]:
        sys.stderr.write("error: The admin takes no arguments. Start a stack with `rafiki up`.\n")
        return ExitCode.USAGE
    collector.rest_while_loading()
    # Until the settings are read.
    set_up_logging("messages")
    try:
        run()
    except RafikiError as e:
        _logger.error("%s", e.message)
        return e.exit_code
    except Exception as e:  # noqa: BLE001 - the last place that can log it
        if isinstance(e, OSError) and isinstance(e.filename, str):
            _logger.error("%s: %s.", e.filename, why(e))
        else:
            log_unexpected(_logger, e)
        return ExitCode.FAILURE
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())

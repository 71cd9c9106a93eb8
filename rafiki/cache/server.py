"""The stack's private cache server: found, started, adopted after an admin restart, ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from rafiki.cache.connection import cache_errors, connect
from rafiki.cache_program import ServerProgram
from rafiki.errors import CacheUnavailableError, StackError
from rafiki.messages import CacheAddress, CacheTls
from rafiki.utils.clock import Deadline
from rafiki.utils.files import read_text, tail_lines, write_private
from rafiki.utils.pid_file import PidFile, handle_of
from rafiki.utils.process import (
    SERVICE_VARIABLE,
    STACK_ID_VARIABLE,
    STACK_VARIABLE,
    end_processes,
    find_stack_processes,
    wait_until,
)
from rafiki.utils.sockets import any_free_port, is_free

_SERVICE_NAME = "cache"


class CacheServerTls(NamedTuple):
    """With what a private server speaks TLS, to everybody."""

    certificate: Path
    key: Path
    authorities: str
    """Who signed it, in PEM."""


_PORT_LINGERS_S = 2.0
"""The last server's port may be taken for a moment after it was killed."""


class CacheServer:
    """One private server. Its port is kept between starts, because running services know it."""

    def __init__(
        self,
        *,
        stack_root: Path,
        stack_id: str = "",
        run_folder: Path,
        log_file: Path,
        password: str,
        port: int,
        start_timeout_s: float,
        find_program: Callable[[], ServerProgram],
        other_hosts: Sequence[str] = (),
        socket: Path | None = None,
        tls: CacheServerTls | None = None,
        max_memory_bytes: int | None = None,
    ) -> None:
        """
        Args:
            other_hosts: addresses of this machine to listen at besides the loopback, for services on other hosts.
            socket: a Unix socket in the run folder to listen at besides, for services that share no network with it.
            max_memory_bytes: beyond it refuses to write; None = half of the machine's memory. Model code writes there.
            find_program: says what to start; asked at each start, as programs come and go with updates of a machine.
        """
        self._find_program = find_program
        self._other_hosts = list(other_hosts)
        self._socket = socket
        self._tls = tls
        self._max_memory_bytes = max_memory_bytes
        self._stack_root = stack_root
        self._stack_id = stack_id
        self._run = run_folder
        self._pid_file = run_folder / "cache.json"
        self._port_file = stack_root / "cache-port"
        self._log_file = log_file
        self._password = password
        self._wanted_port = port
        self._start_timeout_s = start_timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    def _port(self) -> int:
        if self._wanted_port:
            return self._wanted_port
        kept = read_text(self._port_file)
        if kept and kept.strip().isdigit():
            port = int(kept)
            if wait_until(lambda: is_free(port), Deadline(_PORT_LINGERS_S)):
                return port
        return any_free_port()

    def address(self, port: int) -> CacheAddress:
        return CacheAddress(
            host="127.0.0.1", port=port, db=0, username=None, password=self._password, prefix="",
            use_tls=self._tls is not None, tls=self._tls and CacheTls(authorities=self._tls.authorities),
        )  # fmt: skip

    def is_alive(self) -> bool:
        if self._child is not None:
            self._child.poll()
        return PidFile.find(self._pid_file, self._stack_root) is not None

    def ensure(self) -> CacheAddress:
        """The address of the running server; starts one if none runs.

        Raises:
            StackError: when no server can be started, with the last lines of its log.
            ConfigError: when ``cache.program`` names none that can be used.
        """
        if found := PidFile.find(self._pid_file, self._stack_root):
            address = self.address(found.port)
            # One that was started before the stack had other hosts does not listen to them.
            others = [msgspec.structs.replace(address, host=host) for host in self._other_hosts]
            if all(map(self._answers, [address, *others])) and (self._socket is None or self._socket.is_socket()):
                return address
        self.stop()
        return self._start()

    def _answers(self, address: CacheAddress) -> bool:
        try:
            with cache_errors(address), connect(address, socket_timeout_s=2.0) as client:
                return bool(client.ping())
        except CacheUnavailableError:
            return False

    def _start(self) -> CacheAddress:
        program = self._find_program()
        port = self._port()
        if not all(is_free(port, host) for host in ("127.0.0.1", *self._other_hosts)):
            raise StackError(f"Port {port} of the cache is in use. Choose another with cache.port in rafiki.yaml.")
        # The password is in a private file, not among the arguments, which every user of the machine can read.
        config_file = self._run / "cache.conf"
        settings = {
            "bind": " ".join(["127.0.0.1", *self._other_hosts]),
            **self._ports(port),
            "requirepass": self._password,
            "save": '""',
            "appendonly": "no",
            "dir": self._quoted(self._run),
            "logfile": self._quoted(self._log_file),
            "tcp-backlog": 511,
            "timeout": 0,
            # A worker has two to five connections. A server whose process may open fewer files lowers it by itself.
            "maxclients": 50_000,
            "maxmemory": self._max_memory_bytes or psutil.virtual_memory().total // 2,
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            # A title of its own would overwrite the environment by which the stack's processes are found.
            "set-proc-title": "no",
        }
        if self._socket is not None:
            # Relative to "dir": the whole path may be longer than a socket's name may be.
            settings |= {"unixsocket": self._quoted(self._socket.relative_to(self._run)), "unixsocketperm": 700}
        write_private(config_file, "".join(f"{k} {v}\n" for k, v in settings.items()))
        environment = {
            "PATH": os.defpath,
            STACK_VARIABLE: str(self._stack_root),
            STACK_ID_VARIABLE: self._stack_id,
            SERVICE_VARIABLE: _SERVICE_NAME,
        }
        try:
            self._child = subprocess.Popen(
                [program.path, str(config_file)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=environment, start_new_session=True,
            )  # fmt: skip
        except OSError as e:
            raise StackError(f"{program.path}: the cache server does not start: {e.strerror}.") from e
        address = self.address(port)
        child = self._child
        started = time.monotonic()
        wait_until(lambda: child.poll() is not None or self._answers(address), Deadline(self._start_timeout_s))
        if child.poll() is not None or not self._answers(address):
            child.kill()
            last = " / ".join(tail_lines(self._log_file, 3))
            took_s = time.monotonic() - started
            raise StackError(f"{program.path}: the cache server did not start within {took_s:.1f} s. Its log: {last}")
        write_private(self._port_file, f"{port}\n")
        PidFile(
            process=handle_of(child.pid), host="127.0.0.1", port=port, stack_root=str(self._stack_root),
            details=({} if program.is_bundled else {"program": program.path}) | ({"tls": "yes"} if self._tls else {}),
        ).save(self._pid_file)  # fmt: skip
        return address

    def _ports(self, port: int) -> dict[str, object]:
        if self._tls is None:
            return {"port": port}
        # No port beside it: a server listens at all its addresses with every port.
        return {
            "port": 0,
            "tls-port": port,
            "tls-cert-file": self._quoted(self._tls.certificate),
            "tls-key-file": self._quoted(self._tls.key),
            "tls-auth-clients": "no",
        }

    @staticmethod
    def _quoted(path: Path) -> str:
        return msgspec.json.encode(str(path)).decode()

    def stop(self) -> None:
        """End the server, and any older one of this stack."""
        end_processes(find_stack_processes(self._stack_root, service_id=_SERVICE_NAME), timeout_s=3.0)
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        self._pid_file.unlink(missing_ok=True)

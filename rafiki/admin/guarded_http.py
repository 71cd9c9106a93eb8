"""Connections to addresses that users name, which must not lead where the users cannot reach themselves.

Addresses are checked when the connection is made, and it is made to what was checked, so a name that resolves
differently the second time does not lead into this machine or its private networks.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import httpcore

from rafiki.utils.clock import Deadline
from rafiki.utils.public_addresses import is_own, is_public

if TYPE_CHECKING:
    import ssl

    from httpcore._backends.base import SOCKET_OPTION

CONNECT_S = 10.0
FIRST_FREE_PORT = 1024
"""Those below belong to protocols of their own, which a request made by someone else could be smuggled into."""
_WEB_PORTS = (80, 443)
_MOST_ADDRESSES = 8

_Result = TypeVar("_Result")


class GuardError(Exception):
    """A connection was refused or ended here. Whoever asked for it puts it into words."""


class HostNotFoundError(GuardError):
    def __init__(self, host: str) -> None:
        super().__init__(f"the host {host[:80]!r} cannot be found")
        self.host = host


class NotPublicError(GuardError):
    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host[:80]} ({address}) is not a public address")
        self.host, self.address = host, address


class PortRefusedError(GuardError):
    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is not one of the web's: 80, 443, or one from {FIRST_FREE_PORT}")
        self.port = port


class TooLateError(GuardError):
    def __init__(self, duration_s: float) -> None:
        super().__init__(f"it took more than {duration_s:g} s")
        self.duration_s = duration_s


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only, and waits for nothing longer than the deadline.

    Its connections raise GuardError.
    """

    def __init__(self, deadline: Deadline, *, allow_private: bool) -> None:
        self._backend = httpcore.SyncBackend()
        self._wait = _Wait(deadline)
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses_of(host, port)
        if not self._allow_private:
            _refuse_private(host, port, addresses)
        options = list(socket_options or ())
        # What was checked is what is connected to: the name is not looked up again.
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(address, port, timeout, local_address, options)
        return self._connect(addresses[-1], port, timeout, local_address, options)

    def _connect(
        self, address: str, port: int, timeout: float | None, local_address: str | None, options: list[SOCKET_OPTION]
    ) -> httpcore.NetworkStream:
        limited = self._wait.limited(timeout)
        return _TimedStream(self._backend.connect_tcp(address, port, limited, local_address, options), self._wait)


class _Wait:
    """How long the whole may still take."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def limited(self, timeout_s: float | None) -> float:
        """As long as is left, and no longer than ``timeout_s``.

        Raises:
            TooLateError: nothing is left.
        """
        left_s = self._deadline.left_s()
        if left_s <= 0:
            raise TooLateError(self._deadline.duration_s)
        return left_s if timeout_s is None else min(timeout_s, left_s)


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends with the deadline: headers may drip, too."""

    def __init__(self, stream: httpcore.NetworkStream, wait: _Wait) -> None:
        self._stream = stream
        self._wait = wait

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._timed(lambda limit_s: self._stream.read(max_bytes, limit_s), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._timed(lambda limit_s: self._stream.write(buffer, limit_s), timeout)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(
            self._timed(lambda limit_s: self._stream.start_tls(ssl_context, server_hostname, limit_s), timeout),
            self._wait,
        )

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)

    def _timed(self, action: Callable[[float], _Result], timeout: float | None) -> _Result:
        try:
            return action(self._wait.limited(timeout))
        except httpcore.TimeoutException:
            self._wait.limited(None)  # Says so when it was the deadline that has come.
            raise


def _addresses_of(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise HostNotFoundError(host) from e
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MOST_ADDRESSES]


def _refuse_private(host: str, port: int, addresses: list[str]) -> None:
    """One address that is not public is enough: a name that mixes them is made to get past such a check."""
    for address in addresses:
        if not is_public(address) or is_own(address):
            raise NotPublicError(host, address)
    if port < FIRST_FREE_PORT and port not in _WEB_PORTS:
        raise PortRefusedError(port)

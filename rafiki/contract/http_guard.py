"""What a stranger's connection may cost a server: limits of headers, times and connections, kept over all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from rafiki.settings import HttpConfig

if TYPE_CHECKING:
    from rafiki.contract.http_protocol import GuardedProtocol

_SWEEP_S = 1.0
LINGER_S = 10.0
"""How long what is still being sent is read and thrown away after a refusal, so that its sender sees that."""
_FEWEST_FILES = 65_536


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one server."""

    header_bytes: int
    header_s: float
    """How long a request's headers may take, and how long a new connection may say nothing."""
    body_s: float
    """How long a body may pause."""
    connections: int
    connections_of_address: int


def limits_of(config: HttpConfig) -> HttpLimits:
    return HttpLimits(
        header_bytes=config.max_header_kb * 1024, header_s=config.header_timeout_s, body_s=config.body_timeout_s,
        connections=config.max_connections, connections_of_address=config.max_connections_per_address,
    )  # fmt: skip


class HttpGuard:
    """Watches the connections of one server, from its event loop."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self._connections: dict[GuardedProtocol, str] = {}
        self._of_address: Counter[str] = Counter()
        self._sweep: asyncio.TimerHandle | None = None

    def admit(self, connection: GuardedProtocol, address: str) -> bool:
        """Whether a new connection may stay. Where there are too many, one that waits for its next request goes first.

        Args:
            address: where it comes from; empty = a socket of this machine, which one's own limits do not bind.
        """
        self._connections[connection] = address
        self._of_address[address] += 1
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._look)
        crowded = len(self._connections) > self.limits.connections
        of_address = bool(address) and self._of_address[address] > self.limits.connections_of_address
        if not crowded and not of_address:
            return True
        return self._close_idle(connection, address if of_address else None)

    def leave(self, connection: GuardedProtocol) -> None:
        if (address := self._connections.pop(connection, None)) is None:
            return
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]

    def _close_idle(self, new: GuardedProtocol, address: str | None) -> bool:
        """End the connection that has been idle for longest, of an address if one is named."""
        idle = [
            c for c, a in self._connections.items() if c is not new and c.is_idle and (address is None or a == address)
        ]
        if not idle:
            return False
        min(idle, key=lambda c: c.since).end()
        return True

    def _look(self) -> None:
        """Once a second, instead of a timer for each request."""
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            connection.check_time(now)
        if self._connections:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._look)


def allow_many_connections() -> None:
    """Raise this process's limit of open files as far as it may: each connection is one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FEWEST_FILES if hard == resource.RLIM_INFINITY else min(hard, _FEWEST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

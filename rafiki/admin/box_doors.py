"""The doors by which boxes reach this stack: two Unix sockets in a folder that is mounted into each of them."""

from __future__ import annotations

import ssl
from pathlib import Path
from socket import socket

from rafiki.admin.cache_relay import CacheRelay
from rafiki.messages import CacheAddress, CacheTls
from rafiki.sandbox.sandbox import ADMIN_DOOR, CACHE_DOOR, DOORS
from rafiki.stack_folder import StackFolder
from rafiki.utils.sockets import listen_at


class BoxDoors:
    """The sockets of one stack."""

    def __init__(self, folder: StackFolder) -> None:
        self._folder = folder.run / DOORS
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._relay: CacheRelay | None = None

    @property
    def cache_socket(self) -> Path:
        """Where the private cache is to listen."""
        return self._folder / CACHE_DOOR

    def relay_to(self, cache: CacheAddress) -> None:
        """Open the door to a cache that is not the stack's own.

        Raises:
            OSError: when the socket cannot be made.
        """
        tls: ssl.SSLContext | None = None
        if cache.use_tls:
            from rafiki.cache.tls import context_of

            tls = context_of(cache.tls or CacheTls())
        self._relay = CacheRelay(listen_at(self.cache_socket), cache, tls)

    def listen_for_admin(self) -> socket:
        """The socket at which the admin answers boxes.

        Raises:
            OSError: when it cannot be made.
        """
        return listen_at(self._folder / ADMIN_DOOR)

    def close(self) -> None:
        if self._relay is not None:
            self._relay.close()

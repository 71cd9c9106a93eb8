"""The doors by which boxes reach this stack: two Unix sockets in a folder that is mounted into each of them.

A box sees the folder that was there when it was started. Sockets that are deleted are made again in it, and boxes get
through again; boxes whose folder was deleted are cut off for good, so their services are replaced.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from socket import socket

from rafiki.admin.cache_relay import CacheRelay
from rafiki.messages import CacheAddress, CacheTls
from rafiki.sandbox.sandbox import ADMIN_DOOR, CACHE_DOOR, DOORS
from rafiki.stack_folder import StackFolder
from rafiki.utils.clock import utc_now
from rafiki.utils.files import read_text, write_atomic
from rafiki.utils.sockets import connect_at, listen_at

_logger = logging.getLogger(__name__)


_SINCE_FILE = "doors-since"
_DEAD_LOOKS = 5
_CONNECT_S = 1.0


def _listens(door: Path) -> bool:
    """Whether somebody listens at a door; one who is too busy to answer does."""
    try:
        connect_at(door, _CONNECT_S).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError:
        return True
    return True


def _read_since(file: Path) -> datetime | None:
    try:
        return datetime.fromisoformat(read_text(file) or "")
    except ValueError:
        return None


class BoxDoors:
    """The sockets of one stack."""

    def __init__(self, folder: StackFolder) -> None:
        self._folder = folder.run / DOORS
        self._since_file = folder.run / _SINCE_FILE
        is_there = self._folder.is_dir()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._inode = self._folder.stat().st_ino
        self._relays: list[CacheRelay] = []
        self._dead_looks = 0
        self._cache: CacheAddress | None = None
        self._serve_admin: Callable[[socket], None] | None = None
        self.renewed: datetime | None = None
        """Since when there is this folder: boxes of before see another one. None = as far back as is known."""
        # An admin may have ended between the deletion and the last replacement.
        if is_there:
            self.renewed = _read_since(self._since_file)
        else:
            self._note_renewed()

    @property
    def cache_socket(self) -> Path:
        """Where the private cache is to listen."""
        return self._folder / CACHE_DOOR

    def lead_to(self, cache: CacheAddress) -> None:
        """Say where the cache is, which runs: the door to it is made again by passing connections on.

        An admin before this one may have passed them on, as the cache's own socket was deleted: then the door is a file
        at which nobody listens.

        Raises:
            OSError: when the door cannot be made again.
        """
        self._cache = cache
        if not _listens(self.cache_socket):
            self.relay_to(cache)

    def relay_to(self, cache: CacheAddress) -> None:
        """Open the door to a cache that does not listen there itself.

        Raises:
            OSError: when the socket cannot be made.
        """
        tls: ssl.SSLContext | None = None
        if cache.use_tls:
            from rafiki.cache.tls import context_of

            tls = context_of(cache.tls or CacheTls())
        self._cache = cache
        self._relays.append(CacheRelay(listen_at(self.cache_socket), cache, tls))

    def listen_for_admin(self) -> socket:
        """The socket at which the admin answers boxes.

        Raises:
            OSError: when it cannot be made.
        """
        return listen_at(self._folder / ADMIN_DOOR)

    def serve_admin_with(self, serve: Callable[[socket], None]) -> None:
        """
        Args:
            serve: answers boxes at a socket, too; called from another thread.
        """
        self._serve_admin = serve

    def mend(self) -> bool:
        """Make again what was deleted; whether anything was. For one thread.

        Raises:
            OSError: when it cannot be made.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        inode = self._folder.stat().st_ino
        missing = [name for name in (CACHE_DOOR, ADMIN_DOOR) if not (self._folder / name).exists()]
        self._dead_looks = 0 if _listens(self.cache_socket) else self._dead_looks + 1
        # Seen often: a cache that is started again takes its place at the door itself.
        if CACHE_DOOR not in missing and self._dead_looks >= _DEAD_LOOKS:
            missing.append(CACHE_DOOR)
        if not missing and inode == self._inode:
            return False
        if CACHE_DOOR in missing and self._cache is not None:
            self.relay_to(self._cache)
        if ADMIN_DOOR in missing and self._serve_admin is not None:
            self._serve_admin(self.listen_for_admin())
        if inode != self._inode:
            # Last: whoever is started from now on gets through.
            self._inode = inode
            self._note_renewed()
            _logger.warning("admin: %s was deleted, and is made again; what is in boxes is replaced", self._folder)
        else:
            _logger.warning("admin: %s in %s made again", " and ".join(missing), self._folder)
        return True

    def _note_renewed(self) -> None:
        self.renewed = utc_now()
        # Without space for it, the next admin does not know: this one does.
        with contextlib.suppress(OSError):
            write_atomic(self._since_file, self.renewed.isoformat().encode())

    def close(self) -> None:
        for relay in self._relays:
            relay.close()

"""Listening sockets and free ports."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_BACKLOG = 2048
_LONGEST_NAME = 100


def listen(host: str, port: int) -> socket.socket:
    """A TCP socket that listens.

    Raises:
        OSError: when the port is in use or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        # At once: two sockets can be bound to one port, of which only the first one to listen has it.
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def listen_at(path: Path) -> socket.socket:
    """A Unix socket that listens at a path, for this user alone; one that is there is replaced.

    Raises:
        OSError: when it cannot be made.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    # A socket's name holds 107 bytes; by way of the open folder, its path may be longer.
    name = f"/proc/self/fd/{folder}/{path.name}" if len(os.fsencode(path)) > _LONGEST_NAME else str(path)
    try:
        path.unlink(missing_ok=True)
        sock.bind(name)
        path.chmod(0o600)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    try:
        listen(host, port).close()
    except OSError:
        return False
    return True


def can_listen(host: str) -> bool:
    """Whether an address is one of this machine's."""
    try:
        listen(host, 0).close()
    except OSError:
        return False
    return True


def any_free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with listen(host, 0) as sock:
        return int(sock.getsockname()[1])

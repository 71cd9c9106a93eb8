"""Listening sockets and free ports."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
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


def connect_at(path: Path, timeout_s: float) -> socket.socket:
    """A connection to the Unix socket at a path.

    Raises:
        OSError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        with _short_name(path) as name:
            sock.connect(name)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """A path as a socket's name, which holds 107 bytes: by way of its open folder, where it is longer."""
    if len(os.fsencode(path)) <= _LONGEST_NAME:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen_at(path: Path) -> socket.socket:
    """A Unix socket that listens at a path, for this user alone; one that is there is replaced.

    Raises:
        OSError: when it cannot be made.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with _short_name(path) as name:
            sock.bind(name)
        path.chmod(0o600)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
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

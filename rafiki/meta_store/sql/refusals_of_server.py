"""What a PostgreSQL server's refusal of a connection means, and what to do."""

from __future__ import annotations

import socket
import ssl
import struct
from pathlib import Path

from sqlalchemy import URL

from rafiki.utils.certificates import CertificateError, context_trusting, read_pem, why_not_trusted

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""https://www.postgresql.org/docs/current/protocol-message-formats.html, SSLRequest"""
_TIMEOUT_S = 3.0

_ADVICE = [
    (("does not match host name",), "Name the server in meta_store.url as its certificate does."),
    (
        ("server does not support SSL",),
        "It speaks no TLS: switch it on there (ssl = on), or leave sslmode out of meta_store.url in a private network.",
    ),
    (("root certificate file",), "Name the file of its authority with meta_store.ca."),
    (
        ("requires a valid client certificate", "certificate required", "certificate authentication failed"),
        "It wants a certificate of the client: name its files with meta_store.certificate and meta_store.key.",
    ),
    (("no encryption",), "The server takes connections over TLS alone: add sslmode=verify-full to meta_store.url."),
    (
        ("too many clients", "remaining connection slots", "too many connections"),
        "All its connections are taken (max_connections): allow more. An admin holds up to 15, and each search 2.",
    ),
]


def advice(url: URL, reason: str) -> str:
    """What to do about a failed connection, with a blank before it; empty where nothing is known.

    Args:
        reason: the driver's words.
    """
    if "certificate verify failed" in reason:
        why = _ask_why_not_trusted(url)
        return (f" Its certificate is not trusted: {why}." if why else "") + (
            " Name the file of its authority with meta_store.ca, or renew the certificate."
        )
    return next((f" {what}" for words, what in _ADVICE if any(w in reason for w in words)), "")


def _ask_why_not_trusted(url: URL) -> str | None:
    """What is wrong with the server's certificate: libpq does not tell one that expired from one of a stranger."""
    root = url.query.get("sslrootcert")
    try:
        context = context_trusting(read_pem(Path(root)) if isinstance(root, str) else None)
        context.check_hostname = False
        with socket.create_connection(_first_host(url), _TIMEOUT_S) as connection:
            connection.sendall(_SSL_REQUEST)
            if connection.recv(1) == b"S":
                context.wrap_socket(connection, server_hostname=url.host).close()
    except (OSError, CertificateError, ssl.SSLError) as e:
        return why_not_trusted(e)
    return None


def _first_host(url: URL) -> tuple[str, int]:
    """Of several that the URL names, the one that libpq tries first."""
    named = url.query.get("host")
    first = (named if isinstance(named, str) else named[0]) if named else ""
    name, _, port = first.partition(":")
    return url.host or name or "127.0.0.1", url.port or (int(port) if port.isdecimal() else 5432)

"""Addresses as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit


def mask_url(url: str) -> str:
    """An address without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")


def http_url(address: str) -> str:
    """The URL of ``host:port``, which may have ``https://`` before it already."""
    return address if address.startswith("https://") else f"http://{address}"

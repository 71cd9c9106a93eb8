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


_MOST_URL_CHARS = 2048


def why_no_web_url(url: str) -> str | None:
    """Why requests cannot be sent to an address, as the end of a sentence; None when they can."""
    if len(url) > _MOST_URL_CHARS:
        return f"has more than {_MOST_URL_CHARS:,} characters"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "holds a space or a character that no URL holds"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        return f"cannot be read: {e}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no address of the web: write https://HOST/PATH"
    if "@" in parts.netloc:
        return "holds a user or a password before its host: they are not sent"
    return "names port 0, at which nothing can listen" if port == 0 else None


def host_of(url: str) -> str:
    """The host that an address names, without brackets; empty where it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""

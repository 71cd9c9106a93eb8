"""Where a store of datasets or of parameters is: a URL that travels in a spec, and a credential that is not printed."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import msgspec

from rafiki.errors import ConfigError
from rafiki.utils.urls import mask_url

FOLDER_SCHEME = "folder"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+")


class StoreLocation(msgspec.Struct, frozen=True, kw_only=True):
    """Names a store to whoever opens it, in whatever process and on whatever host that is.

    The scheme of the URL names the kind of store (see :mod:`rafiki.stores`); that kind alone reads the rest of it.
    """

    url: str
    """``folder:///data/params``, or another scheme with an address, and a query where the kind has options."""
    credential: str | None = None
    """What lets the opener in, where the kind wants something: a service's token. Not part of any message."""
    authorities: str | None = None
    """Who may have signed the certificate of its server, in PEM; None = whom the machine trusts."""

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    def __str__(self) -> str:
        """The URL as it may be shown: without user, password and query."""
        return mask_url(self.url)

    def __repr__(self) -> str:
        return f"StoreLocation({self})"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("url", str(self))]


def folder_location(folder: Path) -> StoreLocation:
    """The location of a store that is a folder of this machine, or of a file system that hosts share."""
    return StoreLocation(url=f"{FOLDER_SCHEME}://{quote(str(folder.absolute()))}")


def find_folder(location: StoreLocation) -> Path | None:
    """The folder that a location names; None when the store is something else.

    Raises:
        ConfigError: when it names no absolute path.
    """
    if location.scheme != FOLDER_SCHEME:
        return None
    parts = urlsplit(location.url)
    if parts.netloc or not parts.path.startswith("/"):
        raise ConfigError(f"{location}: name the folder by its absolute path: {FOLDER_SCHEME}:///data/params.")
    return Path(unquote(parts.path))


def parse_location(text: str, where: str) -> StoreLocation:
    """The location that a person wrote.

    Args:
        text: the URL.
        where: the setting, which begins the message of a refusal.

    Raises:
        ConfigError: when it is no URL.
    """
    if not _URL.fullmatch(text):
        # Not quoted: it may hold a password.
        raise ConfigError(f"{where}: this is no URL of a store. Write it as in {FOLDER_SCHEME}:///data/params.")
    location = StoreLocation(url=text)
    find_folder(location)
    return location

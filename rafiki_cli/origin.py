"""Where this installation of Rafiki came from, by what its installer left beside it (PEP 610)."""

from __future__ import annotations

import importlib.metadata
import re
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

import rafiki
from rafiki.distribution import NAME

_DIRECT_URL = "direct_url.json"
_HASHES = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
"""What pip replaces by an environment variable where it reads an address."""
MISSING = "IS MISSING HERE"
_WEB = ("https", "http")


class OriginKind(StrEnum):
    INDEX = "a package index"
    REPOSITORY = "a repository"
    WEB_FILE = "a file on the web"
    LOCAL_FILE = "a file on this machine"
    LOCAL_FOLDER = "a folder on this machine"
    UNKNOWN = "an unknown place"


LOCAL = frozenset({OriginKind.LOCAL_FILE, OriginKind.LOCAL_FOLDER, OriginKind.UNKNOWN})
"""Those that name nothing that another machine could fetch."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where an installation came from."""

    kind: OriginKind
    address: str = ""
    """As pip takes it: ``git+https://host/rafiki.git@COMMIT``, ``https://host/rafiki_ml.whl#sha256=...``, or a path.
    Nothing for an index. Never with a secret."""
    had_secret: bool = False
    """Whether the address was known with a password or a query, which are left out."""

    @property
    def is_local(self) -> bool:
        return self.kind in LOCAL


class _Repository(msgspec.Struct, frozen=True):
    vcs: str
    commit_id: str


class _Archive(msgspec.Struct, frozen=True):
    hashes: dict[str, str] | None = None
    hash: str | None = None
    """``NAME=VALUE``, of older installers."""

    def fragment(self) -> str | None:
        """The strongest hash, as in the fragment of an address."""
        hashes = self.hashes or {}
        best = next((f"{name}={hashes[name]}" for name in _HASHES if hashes.get(name)), None)
        return best or self.hash


class _Folder(msgspec.Struct, frozen=True):
    editable: bool = False


class _DirectUrl(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    vcs_info: _Repository | None = None
    archive_info: _Archive | None = None
    dir_info: _Folder | None = None
    subdirectory: str | None = None


def find_origin() -> Origin:
    """The origin of the Rafiki that runs. Sources that are not installed are a local folder."""
    home = Path(rafiki.__path__[0]).resolve().parent
    sources = Origin(kind=OriginKind.LOCAL_FOLDER, address=str(home))
    try:
        found = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        return sources
    origin = origin_of(found)
    if origin.kind is OriginKind.LOCAL_FOLDER:
        return origin
    # What is installed is not what runs where PYTHONPATH, say, leads to a checkout.
    is_running = Path(str(found.locate_file(""))).resolve() == home
    return origin if is_running else sources


def origin_of(installed: importlib.metadata.Distribution) -> Origin:
    """Where any installed package came from. Without a note of its installer's it was an index."""
    text = installed.read_text(_DIRECT_URL)
    return Origin(kind=OriginKind.INDEX) if text is None else parse_direct_url(text)


def missing_line(name: str, origin: Origin) -> str:
    """A line of a requirements.txt in place of a package that no other machine can fetch: pip stops and shows it."""
    return (
        f"{name.upper()} {MISSING}: it was installed from {origin.kind}, which no other machine can fetch. Replace "
        "this line by where it can be fetched"
    )


def parse_direct_url(text: str) -> Origin:
    """What a ``direct_url.json`` says."""
    try:
        direct = msgspec.json.decode(text, type=_DirectUrl)
        address, had_login, had_query = without_secrets(direct.url)
        scheme = urlsplit(address).scheme
    except (msgspec.DecodeError, ValueError):
        return Origin(kind=OriginKind.UNKNOWN)
    if scheme == "file":
        kind = OriginKind.LOCAL_FILE if direct.archive_info is not None else OriginKind.LOCAL_FOLDER
        return Origin(kind=kind, address=unquote(urlsplit(address).path))
    fragments = [f"subdirectory={direct.subdirectory}"] if direct.subdirectory else []
    if direct.vcs_info is not None:
        kind, address = OriginKind.REPOSITORY, f"{direct.vcs_info.vcs}+{address}@{direct.vcs_info.commit_id}"
    elif direct.archive_info is not None and scheme in _WEB:
        kind = OriginKind.WEB_FILE
        fragments = [*filter(None, [direct.archive_info.fragment()]), *fragments]
    else:
        return Origin(kind=OriginKind.UNKNOWN)
    if fragments:
        address = f"{address}#{'&'.join(fragments)}"
    return Origin(kind=kind, address=address, had_secret=had_login or had_query)


class CleanAddress(NamedTuple):
    """An address as it may be written to a file."""

    address: str
    had_login: bool
    had_query: bool


def without_secrets(url: str) -> CleanAddress:
    """An address without what may be a secret in it, and without fragment.

    A password, a user's name (which is where tokens are put), and a query (in which keys of signed addresses travel)
    are taken out. What stays: the user's name with ssh, and variables that pip replaces, such as ``${TOKEN}``.

    Raises:
        ValueError: when it is no address.
    """
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    is_kept = all(map(_VARIABLE.fullmatch, user.split(":"))) or (
        ":" not in user and (user == "git" or parts.scheme.endswith("ssh"))
    )
    kept = parts.netloc if user and is_kept else host
    clean = urlunsplit((parts.scheme, kept, parts.path, "", ""))
    return CleanAddress(clean, had_login=kept != parts.netloc, had_query=bool(parts.query))

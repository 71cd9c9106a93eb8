"""Rafiki's own files: where they came from, whether they are as they came, and the package of others beside them."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import rafiki
from rafiki.distribution import NAME, NAMESAKE
from rafiki.version import __version__
from rafiki_cli.doctor.findings import Finding, ok, problem, warning
from rafiki_cli.doctor.subject import Subject
from rafiki_cli.origin import Origin, OriginKind, find_origin

_CHECK = "installation"
_MOST_NAMED = 3


def check_installation(subject: Subject) -> Iterator[Finding]:
    """Where Rafiki came from, its files, and whether the package that is called as its modules are is there too."""
    origin = find_origin()
    mend = _reinstall(origin)
    yield from _check_files(origin, mend)
    other = _find(NAMESAKE)
    if other is None:
        return
    where = Path(str(other.locate_file(""))).resolve()
    told = f"The package {NAMESAKE!r} {other.version} is installed too, in {where}."
    if where == _home():
        yield problem(
            _CHECK,
            f"{told} Its modules share a folder with those of {NAME!r}: when either is upgraded or uninstalled, the "
            "other breaks.",
            f"In this order: pip uninstall {NAMESAKE}; {mend}",
        )
    else:
        yield warning(
            _CHECK,
            f"{told} Its modules are called as Rafiki's are; which of the two is imported depends on Python's path.",
            f"pip uninstall {NAMESAKE}",
        )


def _check_files(origin: Origin, mend: str) -> Iterator[Finding]:
    installed = _find(NAME)
    if installed is None or Path(str(installed.locate_file(""))).resolve() != _home():
        yield ok(_CHECK, f"Rafiki {__version__} runs from {_home()}.")
        return
    wrong = _changed_files(installed)
    if not wrong:
        yield ok(_CHECK, f"Rafiki {__version__}, from {_told(origin)}.")
        return
    named = ", ".join(wrong[:_MOST_NAMED]) + (f" and {len(wrong) - _MOST_NAMED} more" if wrong[_MOST_NAMED:] else "")
    yield problem(_CHECK, f"Files of Rafiki are missing or not as they were installed: {named}.", mend)


def _told(origin: Origin) -> str:
    return f"{origin.kind}: {origin.address}" if origin.address else str(origin.kind)


def _reinstall(origin: Origin) -> str:
    """The command that puts this version's files in place again."""
    match origin.kind:
        case OriginKind.INDEX | OriginKind.UNKNOWN:
            what = f"{NAME}=={__version__}"
        case OriginKind.REPOSITORY | OriginKind.WEB_FILE:
            what = f"{NAME} @ {origin.address}"
        case OriginKind.LOCAL_FILE | OriginKind.LOCAL_FOLDER:
            what = origin.address
    return f"pip install --force-reinstall --no-deps '{what}'"


def _home() -> Path:
    return Path(rafiki.__path__[0]).resolve().parent


def _find(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _changed_files(installed: importlib.metadata.Distribution) -> list[str]:
    """Those that are missing, or whose contents are not what the list of the installation says."""
    return [str(file) for file in installed.files or [] if file.hash is not None and not _is_as_listed(file)]


def _is_as_listed(file: importlib.metadata.PackagePath) -> bool:
    assert file.hash is not None
    try:
        digest = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value

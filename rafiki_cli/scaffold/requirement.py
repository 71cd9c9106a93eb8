"""What a project's requirements.txt says of Rafiki: where another machine gets what is installed here."""

from __future__ import annotations

import ipaddress
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from rafiki.distribution import NAME, with_extra
from rafiki.version import __version__
from rafiki_cli.origin import MISSING, Origin, OriginKind, missing_line, without_secrets
from rafiki_cli.terminal import UsageError

OPTION = "--requirement"
_MARK = f"RAFIKI {MISSING}"
_OTHER_LINE = "pytest>=8"
_ARCHIVES = (".whl", ".tar.gz", ".zip")
_REPOSITORY = re.compile(r"(git|hg|svn|bzr)\+[a-z]+://", re.ASCII)
_WIDTH = 118
_SECRET_NOTE = (
    "The address that Rafiki was installed from held a user, a password or a query, which are not written here. "
    "Where it asks for them: pip replaces ${NAME} in an address by the environment variable NAME, and reads ~/.netrc."
)


class ProjectRequirement(msgspec.Struct, frozen=True, kw_only=True):
    """The line of requirements.txt by which a project gets Rafiki."""

    line: str
    """What pip reads. Where nothing that another machine can fetch is known, pip stops at it and shows it."""
    notes: list[str] = []
    """Lines before it, for people."""
    warning: str | None = None
    """What whoever makes the project is told about it."""

    def text(self) -> str:
        """Its lines in the file."""
        return "\n".join([*(f"# {note}".rstrip() for note in self.notes), self.line])


def requirement_of(origin: Origin, extra: str | None) -> ProjectRequirement:
    """What to require so that another machine has the same Rafiki.

    Args:
        extra: the extra that brings what the project's model imports.
    """
    name = with_extra(extra)
    if origin.kind is OriginKind.INDEX:
        return ProjectRequirement(line=f"{name}=={__version__}")
    if origin.is_local:
        return _unfilled(origin, extra)
    warning = None
    if origin.had_secret:
        warning = (
            f"requirements.txt asks for Rafiki at {origin.address}. The address that it was installed from also held a "
            "user, a password or a query, which are not written to a file; the lines above it there say how another "
            "machine logs in."
        )
    elif is_this_machine(origin.address):
        warning = (
            f"requirements.txt asks for Rafiki at {origin.address}, which names this machine: another one does not "
            f"find it there. Name what others can fetch in that line, or with {OPTION}."
        )
    notes = _wrapped(_SECRET_NOTE) if origin.had_secret else []
    return ProjectRequirement(line=f"{name} @ {origin.address}", notes=notes, warning=warning)


def parse_requirement(text: str, extra: str | None, project: Path) -> ProjectRequirement:
    """What somebody asks for with the option ``--requirement``: a requirement whose name is ours, an address, or the
    path of a wheel or folder in the project. The extra is added.

    Raises:
        UsageError: when it is none of these, is of another package, or holds a password.
    """
    wanted = text.strip()
    path, _ = _split_extras(wanted)
    if not wanted or "\n" in wanted or "\r" in wanted or wanted.startswith("-"):
        raise UsageError(f"{OPTION}: {text[:80]!r} is no requirement. {_forms(extra)}")
    if wanted.startswith((".", "/", "~")) or (path.endswith(_ARCHIVES) and "://" not in path):
        return _of_path(wanted, extra, project)
    if "://" in wanted.partition(" ")[0]:
        return _of_address(wanted, {extra} if extra else set(), "")
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement as e:
        # Not the text itself: an address in it may hold a password.
        raise UsageError(f"{OPTION}: this is no requirement ({str(e).splitlines()[0]}). {_forms(extra)}") from e
    _check_name(requirement.name)
    extras = requirement.extras | ({extra} if extra else set())
    marker = f"; {requirement.marker}" if requirement.marker else ""
    if requirement.url:
        return _of_address(requirement.url, extras, f" {marker}" if marker else "")
    return ProjectRequirement(line=f"{_named(extras)}{requirement.specifier}{marker}")


def is_unfilled(requirements: bytes) -> bool:
    """Whether a requirements.txt is as it was written where nothing was known to ask for, comments aside."""
    lines = [line.strip() for line in requirements.decode("utf-8", "replace").splitlines()]
    kept = [line for line in lines if line and not line.startswith("#")]
    return len(kept) == 2 and kept[0].startswith(_MARK) and kept[1] == _OTHER_LINE


def line_with_extra(requirements: str, extra: str) -> str | None:
    """The line of a requirements.txt by which it asks for Rafiki, with an extra added; None when it has that extra, or
    there is no such line."""
    for line in map(str.strip, requirements.splitlines()):
        bare, extras = _split_extras(line)
        if bare.endswith(".whl") and " " not in bare:
            return None if extra in extras or not _is_our_wheel(bare) else _with_extras(bare, extras | {extra})
        try:
            found = Requirement(line)
        except InvalidRequirement:
            continue
        if canonicalize_name(found.name) == NAME:
            if extra in found.extras:
                return None
            found.extras.add(extra)
            return str(found)
    return None


def is_this_machine(address: str) -> bool:
    """Whether an address leads to the machine that reads it."""
    host = urlsplit(address).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unfilled(origin: Origin, extra: str | None) -> ProjectRequirement:
    wheel = f"rafiki_ml-{__version__}-py3-none-any.whl"
    forms = [
        (f"{with_extra(extra)}=={__version__}", f"from a package index that has {NAME}"),
        (f"{with_extra(extra)} @ https://HOST/{wheel}", "a wheel on a web server"),
        (f"{with_extra(extra)} @ git+https://HOST/PATH.git@COMMIT", "a repository"),
        (_with_extras(f"./wheels/{wheel}", {extra} if extra else set()), "a wheel that is kept in this project"),
    ]
    width = max(len(form) for form, _ in forms)
    # No path: it is nobody's business where a file was on somebody's disk.
    notes = _wrapped(
        f"Rafiki was installed from {origin.kind} when this project was made. No other machine can fetch that, so pip "
        "stops at the line that says so below, until one of these is in its place:"
    )
    notes += [f"  {form.ljust(width)}   {what}" for form, what in forms]
    return ProjectRequirement(
        line=f"{missing_line('rafiki', origin)}, as the lines before it show.",
        notes=notes,
        warning=(
            f"Rafiki was installed from {origin.kind}{f' ({origin.address})' if origin.address else ''}, which no "
            "other machine can fetch. So requirements.txt does not say where to get it, and CI stops in its first step "
            f"until its marked line is filled in. The same command with {OPTION} '{NAME} @ https://...' does that."
        ),
    )


def _of_path(wanted: str, extra: str | None, project: Path) -> ProjectRequirement:
    bare, extras = _split_extras(wanted)
    if extra:
        extras.add(extra)
    path = PurePosixPath(bare)
    if path.is_absolute() and path.is_relative_to(project.absolute()):
        path = path.relative_to(project.absolute())
    if bare.endswith(".whl"):
        _check_wheel(path.name)
    if path.is_absolute() or bare.startswith("~") or ".." in path.parts:
        raise UsageError(
            f"{OPTION}: {bare} is outside the project, where no other machine has it. Copy it into the project, and "
            f"name it from there: ./wheels/{path.name}"
        )
    line = _with_extras(f"./{path}", extras)
    warning = None
    if not (project / path).exists():
        warning = f"requirements.txt asks for {line}, which is not there yet. Put it there, and into the repository."
    return ProjectRequirement(line=line, warning=warning)


def _of_address(address: str, extras: set[str], marker: str) -> ProjectRequirement:
    bare, _, fragment = address.partition("#")
    try:
        found = without_secrets(bare)
        clean, parts = found.address, urlsplit(found.address)
    except ValueError as e:
        raise UsageError(f"{OPTION}: this is no address: {e}.") from e
    if found.had_login:
        raise UsageError(
            f"{OPTION}: the address holds a user or a password, which would be written to a file. Write variables, as "
            f"in https://${{USER_NAME}}:${{TOKEN}}@{parts.hostname or 'host'}/..., which pip takes from the "
            "environment."
        )
    if found.had_query:
        raise UsageError(
            f"{OPTION}: the address has a query (?...), which may hold a key, and would be written to a file. Name an "
            "address without one."
        )
    if parts.scheme == "file":
        raise UsageError(f"{OPTION}: the address names a file of this machine, which no other machine can fetch.")
    if not _REPOSITORY.match(clean) and parts.scheme not in ("http", "https"):
        raise UsageError(f"{OPTION}: pip fetches from http(s) and from repositories (git+https://...), not {clean}.")
    name = unquote(PurePosixPath(parts.path).name)
    if name.endswith(".whl"):
        _check_wheel(name)
    warning = None
    if is_this_machine(clean):
        warning = (
            f"requirements.txt asks for Rafiki at {clean}, which names this machine: another one does not find it."
        )
    address = f"{clean}#{fragment}" if fragment else clean
    return ProjectRequirement(line=f"{_named(extras)} @ {address}{marker}", warning=warning)


def _check_wheel(name: str) -> None:
    try:
        distribution = parse_wheel_filename(name)[0]
    except InvalidWheelFilename as e:
        raise UsageError(f"{OPTION}: {name} is no name of a wheel: {e}.") from e
    _check_name(distribution)


def _is_our_wheel(path: str) -> bool:
    try:
        return parse_wheel_filename(PurePosixPath(path).name)[0] == NAME
    except InvalidWheelFilename:
        return False


def _check_name(name: str) -> None:
    if canonicalize_name(name) != NAME:
        raise UsageError(f"{OPTION}: this is the package {name!r}. Rafiki's is {NAME!r}: {NAME}=={__version__}")


def _split_extras(path: str) -> tuple[str, set[str]]:
    match = re.fullmatch(r"(.*)\[([A-Za-z0-9_.,\s-]*)\]", path)
    if match is None:
        return path, set()
    return match[1], {extra.strip() for extra in match[2].split(",") if extra.strip()}


def _named(extras: Iterable[str]) -> str:
    return _with_extras(NAME, extras)


def _with_extras(what: str, extras: Iterable[str]) -> str:
    return f"{what}[{','.join(sorted(extras))}]" if extras else what


def _forms(extra: str | None) -> str:
    return (
        f"Write one such as '{with_extra(extra)}=={__version__}', '{NAME} @ git+https://host/rafiki.git@COMMIT', or "
        f"'./wheels/rafiki_ml-{__version__}-py3-none-any.whl'."
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)

"""What a model's ``dependencies`` ask for, and whether what is installed answers it already."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import site
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from rafiki.distribution import NAME, NAMES, NAMESAKE
from rafiki.errors import EnvironmentBuildError, InvalidModelError

_ANY_VERSION = ("", "*", "latest")
_MOST_DEPENDENCIES = 100
_MOST_CHARS = 200
"""Of a name, and of a version."""
# Not "===": what follows it may be anything at all.
_OPERATORS = frozenset({"~=", "==", "!=", "<=", ">=", "<", ">"})
_NAME = "[a-z0-9]+(?:-[a-z0-9]+)*"
_CLAUSE = r"(?:~=|==|!=|<=|>=|<|>)[0-9a-z][0-9a-z.!+_-]*(?:\.\*)?"
_LINE = re.compile(rf"{_NAME}(?:\[{_NAME}(?:,{_NAME})*\])?(?:{_CLAUSE}(?:,{_CLAUSE})*)?", re.ASCII | re.IGNORECASE)
# pip takes such a line for the name of a file, whatever else it says.
_ARCHIVE = re.compile(r"\.(?:zip|whl|tar|tgz|tbz|tlz|txz|egg|gz|bz2|xz|lzma|zst)$", re.IGNORECASE)
_MOST_REMEMBERED = 10_000
_SETTLED_AFTER_S = 5.0
_SAME_MODULES: Mapping[str, tuple[str, ...]] = {
    # Other builds of the same package, for processors of one kind.
    "onnxruntime": ("onnxruntime-gpu",),
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python"),
    "tensorflow": ("tensorflow-cpu",),
    "xgboost": ("xgboost-cpu",),
}


def parse_dependencies(dependencies: Mapping[str, str]) -> list[Requirement]:
    """The requirements that a model's dependencies mean, sorted by name.

    Args:
        dependencies: PyPI name (with extras, if any) -> ``"1.4.2"`` (exactly that), ``">=1.4,<2"`` (a range), or
            ``""`` (any version).

    Raises:
        InvalidModelError: naming the dependency that is no PyPI name or whose version is none.
    """
    if len(dependencies) > _MOST_DEPENDENCIES:
        raise InvalidModelError(
            f"Field 'dependencies': {len(dependencies)} packages; {_MOST_DEPENDENCIES} are the most."
        )
    found: dict[str, Requirement] = {}
    for name, version in dependencies.items():
        requirement = _parse(name, version)
        key = canonicalize_name(requirement.name)
        if key in NAMES:
            raise InvalidModelError(_why_not_rafiki(key))
        if key in found:
            raise InvalidModelError(f"Field 'dependencies': {name!r} names the same package as {found[key].name!r}.")
        found[key] = requirement
    return [found[key] for key in sorted(found)]


def _why_not_rafiki(name: str) -> str:
    if name == NAMESAKE:
        return (
            f"Field 'dependencies': {NAMESAKE!r} is a package of others, whose modules would replace Rafiki's. "
            "Leave it out: a model may import `rafiki` without naming it."
        )
    return (
        f"Field 'dependencies': {NAME!r} is Rafiki itself, which every model has, in the stack's version. Leave it out."
    )


def _parse(name: str, version: str) -> Requirement:
    requirement = _requirement(name)
    # A name alone: nothing that pip could take for an address, a file, an option or a condition.
    if requirement is None or requirement.url or requirement.marker or requirement.specifier:
        raise InvalidModelError(
            f"Field 'dependencies': {name[:80]!r} is no name of a PyPI package. Write one such as 'scikit-learn', "
            "and its version beside it."
        )
    requirement.specifier = _specifier(name, version.strip(" "))
    if not _is_line(_line_of(requirement)):
        raise _no_version(name, version)
    return requirement


def _requirement(text: str) -> Requirement | None:
    if len(text) > _MOST_CHARS or not text.isascii() or not text.isprintable():
        return None
    try:
        return Requirement(text.strip(" "))
    except InvalidRequirement:
        return None


def _specifier(name: str, version: str) -> SpecifierSet:
    if version in _ANY_VERSION:
        return SpecifierSet()
    if len(version) > _MOST_CHARS or not version.isascii() or not version.isprintable():
        raise _no_version(name, version)
    try:
        if version[0].isdigit():
            return SpecifierSet(f"=={version if version.endswith('.*') else Version(version)}")
        found = SpecifierSet(version)
    except (InvalidSpecifier, InvalidVersion) as e:
        raise _no_version(name, version) from e
    if any(s.operator not in _OPERATORS for s in found):
        raise _no_version(name, version)
    return found


def _no_version(name: str, version: str) -> InvalidModelError:
    return InvalidModelError(
        f"Field 'dependencies': {version[:80]!r} is no version of {name[:80]!r}. Write '1.4.2', a range such as "
        "'>=1.4,<2', or nothing for any version."
    )


def _is_line(line: str) -> bool:
    return _LINE.fullmatch(line) is not None and _ARCHIVE.search(line) is None


def lines_for_pip(requirements: Iterable[Requirement]) -> list[str]:
    """The requirements as lines of a file that pip reads.

    They are looked at again, wherever they came from: pip would take an option, an address or a file as willingly.

    Raises:
        EnvironmentBuildError: one is more than a name, its extras and its versions.
    """
    found = list(requirements)
    lines = lines_of(found)
    for requirement in found:
        line = _line_of(requirement)
        if requirement.url or requirement.marker or not _is_line(line):
            raise EnvironmentBuildError(
                f"{str(requirement)[:80]!r} is more than a package's name and version, so pip is not given it; "
                "upload the model again with other dependencies"
            )
    return lines


def parse_lines(lines: Iterable[str]) -> list[Requirement]:
    """The requirements that :func:`lines_of` made into lines, on another machine.

    Raises:
        EnvironmentBuildError: a line is none of these.
    """
    found = []
    for line in lines:
        requirement = _requirement_of_line(line)
        if requirement is None:
            raise EnvironmentBuildError(f"{line[:80]!r} is more than a package's name and version")
        found.append(requirement)
    return found


def _requirement_of_line(line: str) -> Requirement | None:
    try:
        return Requirement(line) if _is_line(line) else None
    except InvalidRequirement:
        return None


def lines_of(requirements: Iterable[Requirement]) -> list[str]:
    """The requirements in one spelling, whatever their first one was."""
    return sorted(map(_line_of, requirements))


def _line_of(r: Requirement) -> str:
    return (
        canonicalize_name(r.name)
        + (f"[{','.join(sorted(canonicalize_name(e) for e in r.extras))}]" if r.extras else "")
        + ",".join(sorted(str(s) for s in r.specifier))
    )


def key_of(requirements: Iterable[Requirement]) -> str:
    """Names the environment of these requirements on this Python: 16 hexadecimal digits."""
    python = [sys.version, sys.executable, *base_site_folders()]
    return hashlib.sha256("\n".join([*python, *lines_of(requirements)]).encode()).hexdigest()[:16]


def base_site_folders() -> list[str]:
    """Where this Python's own packages are."""
    return [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]


def are_satisfied(requirements: Iterable[Requirement]) -> bool:
    """Whether this Python has all of it."""
    return not missing(requirements)


def are_satisfied_by(requirements: Iterable[Requirement], versions: Mapping[str, str]) -> bool:
    """Whether packages of these versions, by their names, surely satisfy all of it. What extras bring is not known."""
    found = {canonicalize_name(name): version for name, version in versions.items()}
    return all(
        not r.extras
        and any(
            r.specifier.contains(found[name], prereleases=True)
            for name in map(canonicalize_name, (r.name, *_SAME_MODULES.get(canonicalize_name(r.name), ())))
            if name in found
        )
        for r in requirements
    )


def missing(requirements: Iterable[Requirement]) -> list[Requirement]:
    """The requirements that this Python's packages do not satisfy."""
    return [r for r in requirements if not _is_satisfied(r)]


def _is_satisfied(requirement: Requirement) -> bool:
    names = [requirement.name, *_SAME_MODULES.get(canonicalize_name(requirement.name), ())]
    distribution = next((d for d in map(_find, names) if d is not None), None)
    if distribution is None or not requirement.specifier.contains(distribution.version, prereleases=True):
        return False
    return all(_is_satisfied(r) for r in _of_extras(distribution, requirement.extras))


def _find(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _of_extras(distribution: importlib.metadata.Distribution, extras: Collection[str]) -> list[Requirement]:
    """What the extras of an installed package ask for besides."""
    if not extras:
        return []
    wanted = [Requirement(text) for text in distribution.requires or []]
    return [
        r
        for r in wanted
        if r.marker is not None
        and not r.marker.evaluate({"extra": ""})
        and any(r.marker.evaluate({"extra": extra}) for extra in extras)
    ]


class Asked(NamedTuple):
    """What dependencies ask for."""

    requirements: list[Requirement]
    is_satisfied: bool
    """This Python has all of it."""


class RequirementReader:
    """Reads dependencies, and remembers what they ask for until a package is installed or removed: to look into the
    records of packages takes a millisecond for each, and every model is looked at again and again.

    May be used from any thread.
    """

    def __init__(self) -> None:
        self._stamp: list[float] = []
        self._known: dict[tuple[tuple[str, str], ...], Asked] = {}

    def read(self, dependencies: Mapping[str, str]) -> Asked:
        """
        Raises:
            InvalidModelError: as :func:`parse_dependencies`.
        """
        if (stamp := _stamp_of_packages()) != self._stamp or len(self._known) >= _MOST_REMEMBERED:
            self._known = {}
            self._stamp = stamp
        known, key = self._known, tuple(sorted(dependencies.items()))
        if (asked := known.get(key)) is None:
            requirements = parse_dependencies(dependencies)
            asked = Asked(requirements, are_satisfied(requirements))
            # An installation that goes on may be half there, and change nothing that shows later.
            if max(stamp, default=0.0) < time.time() - _SETTLED_AFTER_S:
                known[key] = asked
        return asked


def _stamp_of_packages() -> list[float]:
    """Another one after a package was installed or removed: that changes the folder that it is in."""
    stamp = []
    for folder in sys.path:
        try:
            stamp.append(os.stat(folder or ".").st_mtime)
        except OSError:
            stamp.append(0.0)
    return stamp

"""The files of an installation: Rafiki's own, and those of the packages that it needs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rafiki.distribution import NAME
from rafiki.errors import InvalidRequestError
from rafiki_cli.images.parts import NEEDED_BY_WORKERS
from rafiki_cli.scaffold.assets import PACKAGE, find_asset

_PACKAGES = ("rafiki", "rafiki_cli")
_BUNDLED = (
    ("templates", "catalogue.yaml"), ("templates", "models"), ("templates", "project"), ("templates", "samples"),
    ("examples", "datasets"), ("pages", "search.md"), ("pages", "tasks.md"),
)  # fmt: skip
_TEST_FOLDERS = frozenset({"tests", "_tests"})
_MORE_TEST_FOLDERS = {"joblib": "test", "sqlalchemy": "testing", "alembic": "testing"}
"""Folders of other names that hold a package's own tests, or what tests of such packages are made with."""
_FOR_COMPILERS = (".a", ".c", ".cpp", ".exe", ".h", ".hpp", ".lib", ".pxd", ".pyi", ".pyx", ".tp")
"""The image has no compiler, and checks no types."""
_LEFT_OUT = {
    # What compiles extensions, and what its tests alone import.
    "numpy": re.compile(r"numpy/distutils/|numpy/_core/_(simd|\w+_tests)\."),
    # AVIF is no format of a dataset, and its library is a third of the package's; without it Pillow does not offer it.
    "pillow": re.compile(r"pillow\.libs/libavif|PIL/_avif\."),
    "scipy": re.compile(r"scipy/\w+/_c?y?test\w*\.cpython-"),
    # Of databases that Rafiki has no use for.
    "sqlalchemy": re.compile(r"sqlalchemy/dialects/(mssql|mysql|oracle)/"),
}
"""Of packages, by the paths of files."""


def find_needed(extras: frozenset[str], *, are_for_workers: bool = False) -> list[metadata.Distribution]:
    """Rafiki's distribution and all that it needs, with these extras, as they are installed here.

    Args:
        are_for_workers: of what every Rafiki needs, that alone which workers need.

    Raises:
        InvalidRequestError: something that is needed is not installed.
    """
    found: dict[str, metadata.Distribution] = {}
    todo: list[tuple[str, frozenset[str]]] = [(NAME, extras)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            distribution = found.setdefault(canonicalize_name(name), metadata.distribution(name))
        except metadata.PackageNotFoundError as e:
            told = f" (pip install '{NAME}[{','.join(sorted(extras))}]')" if extras else ""
            raise InvalidRequestError(f"The package {name} is not installed here, and the image needs it{told}.") from e
        for text in distribution.requires or []:
            requirement = Requirement(text)
            marker = requirement.marker
            is_of_all = name == NAME and (marker is None or marker.evaluate({"extra": ""}))
            if is_of_all and are_for_workers and canonicalize_name(requirement.name) not in NEEDED_BY_WORKERS:
                continue
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                todo.append((requirement.name, frozenset(requirement.extras)))
    return [found[name] for name in sorted(found)]


def files_of(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    """Each file of a distribution, by its path in the folder of packages. Programs are left out, and what Python
    compiles, tests, and what compilers read."""
    name = canonicalize_name(distribution.metadata["Name"])
    if name == NAME:
        yield from _own_files()
    for entry in distribution.files or []:
        path = entry.as_posix()
        if ".." in entry.parts or is_own(path) or "__pycache__" in entry.parts or path.endswith((".pth", ".pyc")):
            continue
        if _is_left_out(name, entry.parts[:-1], path):
            continue
        file = Path(str(distribution.locate_file(entry)))
        if file.is_file():
            yield path, file


def is_own(path: str) -> bool:
    """Whether a file is of Rafiki itself, by its path in the folder of packages."""
    return path.partition("/")[0] in _PACKAGES


def _is_left_out(name: str, folders: tuple[str, ...], path: str) -> bool:
    tests = _TEST_FOLDERS | {_MORE_TEST_FOLDERS.get(name, "tests")}
    left_out = _LEFT_OUT.get(name)
    return (
        bool(tests.intersection(folders))
        or path.endswith(_FOR_COMPILERS)
        or (left_out is not None and left_out.match(path) is not None)
    )


def _own_files() -> Iterator[tuple[str, Path]]:
    """Also of an installation that leads to a checkout."""
    for package in _PACKAGES:
        file = sys.modules[package].__file__
        assert file is not None
        root = Path(file).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(root).as_posix()}", path
    yield from _bundled_files()


def _bundled_files() -> Iterator[tuple[str, Path]]:
    """What a wheel has in its package, and a checkout beside it: templates, scripts of examples, pages."""
    for kind, name in _BUNDLED:
        asset = find_asset(kind, name)
        if asset.is_relative_to(PACKAGE):
            continue
        for path in [asset] if asset.is_file() else sorted(asset.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                inner = Path(PACKAGE.name) / f"_{kind}" / path.relative_to(asset.parent)
                yield inner.as_posix(), path

"""A program that lists which modules Rafiki and the bundled models import from a folder of packages.

It runs without any other package (``python -I -S imported.py FOLDER``); its last line is the list of files, as JSON.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

_OWN = ("rafiki", "rafiki_cli")
_SCRIPTS = Path("rafiki_cli") / "_examples"
"""Run once, if ever."""
_PROGRAMS = ("pip._internal.commands.install",)
"""What is run, and imported by nobody: it installs the packages of models."""
_NOT_IMPORTED = "migrations.env"
"""Runs within a migration alone."""


def find_imported(packages: Path) -> list[str]:
    """All of Rafiki's own files, and those of other packages that they import, also within functions."""
    own = sorted(file for name in _OWN for file in (packages / name).rglob("*.py"))
    scripts = packages / _SCRIPTS
    names = {name for file in own if not file.is_relative_to(scripts) for name in _imports_of(file)}
    for name in (*sorted(names), *_PROGRAMS):
        _import(name)
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    found = {Path(file) for file in files if file is not None and file.endswith(".py")}
    return sorted(file.relative_to(packages).as_posix() for file in {*own, *found} if file.is_relative_to(packages))


def _imports_of(file: Path) -> Iterator[str]:
    """The modules that a file names, and what might be one: ``from sklearn import svm``."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _import(name: str) -> None:
    if name.endswith(_NOT_IMPORTED):
        return
    try:
        importlib.import_module(name)
    except ImportError as e:
        # No module but a name in one, or of an extra that this image was not given. What is missing of a module of
        # Rafiki's that is there keeps Rafiki from starting.
        if name.partition(".")[0] in _OWN and e.name != name and (e.name or "").partition(".")[0] in _OWN:
            raise


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    sys.stdout.write("\n" + json.dumps(find_imported(folder)))

"""A program that lists which modules Rafiki and the bundled models import from a folder of packages.

It runs without any other package (``python -I -S imported.py REQUEST``, JSON); its last line is the list of files, as
JSON.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_OWN = ("rafiki", "rafiki_cli")
_SCRIPTS = Path("rafiki_cli") / "_examples"
"""Run once, if ever."""
_NOT_IMPORTED = "migrations.env"
"""Runs within a migration alone."""


def find_imported(packages: Path, programs: Iterable[str], absent: Iterable[str], models: Path | None) -> list[str]:
    """All of Rafiki's own files, and those of other packages that they import, also within functions.

    Args:
        programs: modules that have to be imported, with all that they import.
        absent: Rafiki's own packages that are not there by intention.
        models: a folder of models; what they import counts as well.
    """
    for name in programs:
        importlib.import_module(name)
    own = sorted(file for name in _OWN for file in (packages / name).rglob("*.py"))
    scripts = packages / _SCRIPTS
    read = [*(file for file in own if not file.is_relative_to(scripts)), *(models.rglob("*.py") if models else ())]
    names = {name for file in read for name in imports_of(file)}
    for name in sorted(names):
        _import(name, packages, tuple(absent))
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    found = {Path(file) for file in files if file is not None and file.endswith(".py")}
    return sorted(file.relative_to(packages).as_posix() for file in {*own, *found} if file.is_relative_to(packages))


def imports_of(file: Path) -> Iterator[str]:
    """The modules that a file names, and what might be one: ``from sklearn import svm``."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _import(name: str, packages: Path, absent: tuple[str, ...]) -> None:
    if name.endswith(_NOT_IMPORTED):
        return
    try:
        importlib.import_module(name)
    except ImportError as e:
        # No module but a name in one, or of an extra that this image was not given. What is missing of a package that
        # is there keeps Rafiki, or models, from starting.
        missing = e.name or ""
        if missing == name or f"{missing}.".startswith(tuple(f"{own}." for own in absent)):
            return
        if name.partition(".")[0] in _OWN and missing.partition(".")[0] in _OWN:
            raise
        if "." in missing and not name.startswith(f"{missing}.") and (packages / missing.partition(".")[0]).is_dir():
            raise


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.path.insert(0, asked["folder"])
    models = None if asked["models"] is None else Path(asked["models"])
    found = find_imported(Path(asked["folder"]), asked["programs"], asked["absent"], models)
    sys.stdout.write("\n" + json.dumps(found))

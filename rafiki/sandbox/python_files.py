"""The files that a Python interpreter needs to be read: its own, and those of the packages that it finds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import msgspec

from rafiki.errors import ContainerError

_ASK = (
    "import json, sys; "
    "print(json.dumps({'prefixes': [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix], "
    "'path': sys.path, 'executable': sys.executable}))"
)
_ASK_TIMEOUT_S = 60.0
_OF_A_PREFIX = ("bin", "lib", "lib32", "lib64", "libexec", "include", "share", "etc", "ssl", "pyvenv.cfg")
"""What an installation consists of. Not the whole folder: Python may be installed into somebody's home."""
_BEARS_ON_IT = ("PYTHONPATH", "LD_LIBRARY_PATH")
_OF_PACKAGES = ("site-packages", "dist-packages")


class _Paths(msgspec.Struct):
    prefixes: list[str]
    path: list[str]
    executable: str


def files_of(python: str, environment: Mapping[str, str]) -> list[Path]:
    """Files and folders that an interpreter reads, as they are named and where their links lead.

    Args:
        python: this process's interpreter, or that of a virtual environment which sees its packages.
        environment: the variables that it is to run with; ``PYTHONPATH`` among them names more packages.

    Raises:
        ContainerError: when the interpreter cannot be asked.
    """
    told = tuple((name, environment[name]) for name in _BEARS_ON_IT if name in environment)
    own = list(_own_files(told))
    if python == sys.executable:
        return own
    # Never asked itself: what was installed into it may run at its start, and this is outside of the box.
    return [*own, *_with_targets([Path(python), Path(python).parent.parent])]


@cache
def _own_files(variables: tuple[tuple[str, str], ...]) -> tuple[Path, ...]:
    paths = _ask(dict(variables))
    found = [Path(sys.executable), Path(paths.executable)]
    for prefix in dict.fromkeys(paths.prefixes):
        found += [Path(prefix) / name for name in _OF_A_PREFIX]
    for entry in paths.path:
        found += _of_search_path(Path(entry), paths.prefixes)
    return tuple(_with_targets(f for f in found if f.exists()))


def _ask(variables: dict[str, str]) -> _Paths:
    """A process that was started with ``-m`` has its working folder on its path, too: so another one is asked."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, cwd="/",
            timeout=_ASK_TIMEOUT_S, env=variables, check=True,
        )  # fmt: skip
        return msgspec.json.decode(answer.stdout, type=_Paths)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as e:
        raise ContainerError(f"{sys.executable} does not say where its packages are: {e}") from e


def _of_search_path(entry: Path, prefixes: Iterable[str]) -> Iterator[Path]:
    """What an entry of ``sys.path`` holds.

    A folder of packages is taken as it is. Of any other one (a checkout that is installed in place) the modules alone:
    what else lies in there may be somebody's.
    """
    if not entry.is_absolute():
        return
    if any(entry.is_relative_to(prefix) for prefix in prefixes if prefix not in ("/", "")):
        if entry.name in _OF_PACKAGES:
            yield entry
        return
    if entry.name in _OF_PACKAGES or entry.is_file():
        yield entry
    elif entry.is_dir():
        with os.scandir(entry) as children:
            yield from (Path(c.path) for c in children if _is_module(c))


def _is_module(entry: os.DirEntry[str]) -> bool:
    if entry.is_dir():
        # A package need not have an __init__.py; a folder without any Python file is none.
        return entry.name.isidentifier() and any(name.endswith(".py") for name in os.listdir(entry.path))
    return entry.name.endswith((".py", ".so")) or entry.name.endswith(".pth")


def _with_targets(files: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for file in files:
        # An interpreter is often a link to one that is a link: each of them is read.
        for step in _links_of(file):
            if step not in seen:
                seen.add(step)
                yield step


def _links_of(file: Path) -> Iterator[Path]:
    yield file
    for _ in range(40):
        if not file.is_symlink():
            break
        file = file.parent / file.readlink()
        yield file
    yield file.resolve()

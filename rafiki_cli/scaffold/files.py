"""Writes many files at once: all of them, or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from rafiki.errors import RafikiError
from rafiki_cli import terminal
from rafiki_cli.terminal import UsageError

_Tree: TypeAlias = "dict[str, _Tree]"
Files = Mapping[str, bytes]
"""Path below a root, with ``/`` between folders -> contents."""


class FilesExistError(UsageError):
    """Files would be overwritten. Say --force to do that."""


class ScaffoldError(RafikiError):
    """The files could not be written. None of them was."""


def write_files(
    root: Path, files: Files, *, force: bool, keep: Iterable[str] = (), replace: Iterable[str] = ()
) -> list[str]:
    """Write files below ``root``, which is made when it is not there. Nothing is written unless all can be.

    Args:
        force: overwrite what is there.
        keep: those that stay as they are when they are there, whatever they hold.
        replace: those that are overwritten without ``force``.

    Returns:
        What was written; what was there with the same contents is not.

    Raises:
        FilesExistError: naming every file that is there with other contents.
        UsageError: when a file stands where a folder is needed, or the other way round.
        ScaffoldError: when a file cannot be written; those before it are as they were.
    """
    kept = {name for name in keep if (root / name).exists()}
    wanted = {name: data for name, data in files.items() if name not in kept}
    try:
        _check_places(root, wanted)
        changed = {name: data for name, data in wanted.items() if not _holds(root / name, data)}
        in_the_way = [name for name in changed if os.path.lexists(root / name) and name not in set(replace)]
        if in_the_way and not force:
            raise FilesExistError(
                f"{root}: these files are there already: {', '.join(sorted(in_the_way))}. Nothing was written. "
                "Overwrite them with --force, or choose another folder."
            )
        _write(root, changed)
    except OSError as e:
        place = e.filename or root
        raise ScaffoldError(f"{place}: cannot be written: {e.strerror or e}. Nothing was changed.") from e
    return sorted(changed)


def _check_places(root: Path, files: Files) -> None:
    for name in files:
        path = root / name
        if path.is_dir():
            raise UsageError(f"{path}: a folder stands where a file is to be written. Nothing was written.")
        for parent in path.parents:
            if os.path.lexists(parent):
                if not parent.is_dir():
                    raise UsageError(f"{parent}: a file stands where a folder is needed. Nothing was written.")
                break


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _write(root: Path, files: Files) -> None:
    if not root.exists():
        # A folder that is new appears with all that is in it.
        root.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        try:
            _put(staged, files)
            staged.chmod(0o777 & ~_umask())
            os.replace(staged, root)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return
    # Beside the files, so that each gets its place by a rename; and what was there is kept until all have theirs.
    with tempfile.TemporaryDirectory(prefix=".rafiki-", dir=root) as folder:
        new, old = Path(folder) / "new", Path(folder) / "old"
        _put(new, files)
        made: list[Path] = []
        try:
            for name in files:
                target, backup = root / name, old / name
                made += _make_parents(target)
                if os.path.lexists(target):
                    backup.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(target, backup)
                os.replace(new / name, target)
                made.append(target)
        except BaseException:
            for path in reversed(made):
                path.rmdir() if path.is_dir() else path.unlink()
            for name in files:
                if os.path.lexists(old / name):
                    os.replace(old / name, root / name)
            raise


def _make_parents(path: Path) -> list[Path]:
    missing = [p for p in path.parents if not p.exists()]
    for parent in reversed(missing):
        parent.mkdir()
    return missing[::-1]


def _put(folder: Path, files: Files) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def tree_lines(root: str, names: Iterable[str]) -> list[str]:
    """The files as a tree, folders first."""
    last, other, through = ("└── ", "├── ", "│   ") if terminal.can_show("└├│─") else ("`-- ", "|-- ", "|   ")
    tree: _Tree = {}
    for name in names:
        level = tree
        for part in PurePosixPath(name).parts:
            level = level.setdefault(part, {})

    def lines(level: _Tree, indent: str) -> list[str]:
        found = []
        order = sorted(level, key=lambda part: (not level[part], part))
        for part in order:
            is_last = part == order[-1]
            found.append(f"{indent}{last if is_last else other}{part}{'/' if level[part] else ''}")
            found += lines(level[part], indent + ("    " if is_last else through))
        return found

    return [root, *lines(tree, "")]

"""What the engine is given to build the image: a tar file that is the same whenever its files are."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

from rafiki_cli.images.compiled import compile_imported
from rafiki_cli.images.site_files import files_of, find_needed
from rafiki_cli.images.stripped import strip_libraries

DOCKERFILE = Path(__file__).with_name("Dockerfile")
_ROOT = "root"
"""Copied to ``/`` of the image. All folders on the way are in it, with the same time in every build."""
_IN_IMAGE = "/opt/rafiki"
_STATE = "/var/lib/rafiki"
"""For the volume of an admin: a volume takes the mode of the folder where it is first mounted."""
_READABLE, _LISTED, _OPEN = 0o644, 0o755, 0o1777


def lay_out(folder: Path, extras: frozenset[str]) -> dict[str, str]:
    """Put the Dockerfile and the installation's files into an empty folder; what is imported at each start, compiled.

    Returns:
        The versions of the packages, by their names.

    Raises:
        InvalidRequestError: something that is needed is not installed, or does not start from there.
    """
    shutil.copy(DOCKERFILE, folder / "Dockerfile")
    site = folder / f"{_ROOT}{_IN_IMAGE}"
    site.mkdir(parents=True)
    (folder / f"{_ROOT}{_STATE}").mkdir(parents=True)
    needed = find_needed(extras)
    for distribution in needed:
        for path, file in files_of(distribution):
            target = site / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    strip_libraries(site)
    compile_imported(site, _IN_IMAGE)
    return {canonicalize_name(d.metadata["Name"]): d.version for d in needed}


def pack(folder: Path, out: Path) -> None:
    """A tar file of the folder without owners and times."""
    with tarfile.open(out, "w") as tar:
        for path in _sorted(folder.rglob("*")):
            info = tar.gettarinfo(str(path), path.relative_to(folder).as_posix())
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = 0
            info.mode = _mode_of(info)
            if info.isfile():
                with path.open("rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)


def _mode_of(info: tarfile.TarInfo) -> int:
    if info.isdir():
        return _OPEN if info.name == f"{_ROOT}{_STATE}" else _LISTED
    return _READABLE


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda p: p.as_posix())

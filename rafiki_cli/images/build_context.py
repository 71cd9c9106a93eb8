"""What the engine is given to build the image: a tar file that is the same whenever its files are."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

from rafiki.distribution import PIP_ARCHIVE
from rafiki_cli.images.compiled import compile_imported
from rafiki_cli.images.parts import ADMIN, OF_THE_ADMIN, PROGRAMS, WORKERS, part_of
from rafiki_cli.images.pip_archive import write_pip_archive
from rafiki_cli.images.site_files import files_of, find_needed, is_own
from rafiki_cli.images.stripped import strip_libraries
from rafiki_cli.scaffold.assets import find_asset

DOCKERFILE = Path(__file__).with_name("Dockerfile")
_IN_IMAGE = "/opt/rafiki"
_STATE = "/var/lib/rafiki"
"""For the volume of an admin: a volume takes the mode of the folder where it is first mounted."""
_READABLE, _LISTED, _OPEN = 0o644, 0o755, 0o1777
_WORTH_SHARING = 100_000
_PIP = "pip"


def lay_out(folder: Path, extras: frozenset[str], *, has_admin: bool = False) -> dict[str, str]:
    """Put the Dockerfile and the installation's files into an empty folder: of each part of the image, a folder that is
    copied to ``/`` of it. What is imported at each start is compiled.

    Args:
        has_admin: whether the image has all of Rafiki; else what workers need.

    Returns:
        The versions of the packages, by their names.

    Raises:
        InvalidRequestError: something that is needed is not installed, or does not start from there.
    """
    shutil.copy(DOCKERFILE, folder / "Dockerfile")
    of_workers = _by_name(find_needed(extras, are_for_workers=True))
    of_all = _by_name(find_needed(extras)) if has_admin else of_workers
    sites = {WORKERS: folder / WORKERS / _IN_IMAGE[1:], ADMIN: folder / ADMIN / _IN_IMAGE[1:]}
    for part in (WORKERS, ADMIN) if has_admin else (WORKERS,):
        sites[part].mkdir(parents=True)
        _copy(of_all, of_workers, part, sites[part])
        strip_libraries(sites[part])
    (folder / WORKERS / _STATE[1:]).mkdir(parents=True)
    share_equal_files(sites[WORKERS])
    compile_imported(
        sites[WORKERS], _IN_IMAGE, PROGRAMS[WORKERS], absent=OF_THE_ADMIN, models=find_asset("templates", "models")
    )
    if has_admin:
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            merged = Path(scratch) / "site"
            for site in (sites[WORKERS], sites[ADMIN]):
                shutil.copytree(site, merged, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
            compile_imported(merged, _IN_IMAGE, PROGRAMS[ADMIN], into=sites[ADMIN])
    write_pip_archive(of_workers[_PIP], sites[WORKERS] / PIP_ARCHIVE)
    # A model that depends on pip itself does not find it there.
    return {name: d.version for name, d in of_all.items() if name != _PIP}


def _by_name(distributions: Iterable[metadata.Distribution]) -> dict[str, metadata.Distribution]:
    return {canonicalize_name(d.metadata["Name"]): d for d in distributions}


def _copy(
    of_all: Mapping[str, metadata.Distribution], of_workers: Mapping[str, metadata.Distribution], part: str, site: Path
) -> None:
    for name, distribution in of_all.items():
        if name == _PIP:
            continue
        for path, file in files_of(distribution):
            of = part_of(path) if is_own(path) else WORKERS if name in of_workers else ADMIN
            if of == part:
                target = site / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)


def share_equal_files(site: Path) -> None:
    """Packages that are built alike bring the same libraries: the first of each is kept, and the others lead to it."""
    kept: dict[bytes, Path] = {}
    for library in _sorted(site.glob("*.libs/*")):
        if library.is_symlink() or library.stat().st_size < _WORTH_SHARING:
            continue
        first = kept.setdefault(hashlib.sha256(library.read_bytes()).digest(), library)
        # Of the same name: the system's loader then takes them for one.
        if first != library and first.name == library.name:
            library.unlink()
            library.symlink_to(Path("..") / first.parent.name / first.name)


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
        return _OPEN if info.name == f"{WORKERS}{_STATE}" else _LISTED
    return _READABLE


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda p: p.as_posix())

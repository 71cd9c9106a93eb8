"""What the engine is given to build the image: a tar file that is the same whenever its files are."""

from __future__ import annotations

import compileall
import py_compile
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from rafiki_cli.images.site_files import files_of, find_needed

DOCKERFILE = Path(__file__).with_name("Dockerfile")
_SITE = "site"
_IN_IMAGE = "/opt/rafiki"
_READABLE, _LISTED = 0o644, 0o755


def lay_out(folder: Path, extras: frozenset[str]) -> None:
    """Put the Dockerfile and the installation's files into an empty folder, compiled: the image is read-only, and
    whatever is imported would be compiled at each start.

    Raises:
        InvalidRequestError: something that is needed is not installed.
    """
    shutil.copy(DOCKERFILE, folder / "Dockerfile")
    site = folder / _SITE
    for distribution in find_needed(extras):
        for path, file in files_of(distribution):
            target = site / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    # The other kinds hold times, which differ from build to build.
    compileall.compile_dir(
        site, maxlevels=30, quiet=2, stripdir=str(site), prependdir=_IN_IMAGE, workers=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def pack(folder: Path, out: Path) -> None:
    """A tar file of the folder without owners and times."""
    with tarfile.open(out, "w") as tar:
        for path in _sorted(folder.rglob("*")):
            info = tar.gettarinfo(str(path), path.relative_to(folder).as_posix())
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = 0
            info.mode = _LISTED if info.isdir() else _READABLE
            if info.isfile():
                with path.open("rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda p: p.as_posix())

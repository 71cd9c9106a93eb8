"""An image like ``python:3.11-slim`` of this machine's own files, for machines that reach no registry."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROGRAMS = ("sh", "sleep", "env", "id", "ls", "cat")
_LEFT_OUT = frozenset({"site-packages", "__pycache__", "test", "tests", "idlelib", "tkinter", "ensurepip"})
_LOADED_BY_NAME = frozenset(
    {
        "libdl.so.2", "libgcc_s.so.1", "libgomp.so.1", "libnss_dns.so.2", "libnss_files.so.2", "libpthread.so.0",
        "libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1",
    }
)  # fmt: skip
"""Libraries that no program names: of the C library's look-ups, and what wheels expect of a machine."""
_FOLDERS = ("tmp", "var/tmp", "proc", "sys", "dev", "run", "etc", "root")


def write_base(out: Path) -> None:
    """Write a tar file of the image's only layer."""
    python = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = Path(shutil.which(version, path=str(python / "bin")) or sys.executable).resolve()
    library = python / "lib" / version
    modules = [f for f in library.rglob("*") if _is_wanted(f, library)]
    with tarfile.open(out, "w") as tar:
        for folder in _FOLDERS:
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder.endswith("tmp") else 0o755
            tar.addfile(info)
        for link, target in (("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")):
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        programs = {name: Path(found).resolve() for name in _PROGRAMS if (found := shutil.which(name))}
        for name, file in programs.items():
            tar.add(file, f"usr/bin/{name}")
        for name in ("python", "python3", version):
            tar.add(program, f"usr/local/bin/{name}")
        for file in modules:
            tar.add(file.resolve(), f"usr/local/lib/{version}/{file.relative_to(library)}")
        binaries = [program, *programs.values(), *(f for f in modules if f.suffix == ".so")]
        for name, file in _libraries(binaries):
            tar.add(file, name)


def _is_wanted(file: Path, library: Path) -> bool:
    parts = file.relative_to(library).parts
    # Its libraries are those of a desktop.
    return file.is_file() and not _LEFT_OUT & set(parts) and not parts[-1].startswith("_tkinter")


def _libraries(binaries: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """What the dynamic linker loads for them, by the path where it looks."""
    told = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False, timeout=60).stdout
    found = {Path(word) for word in told.split() if word.startswith("/") and ".so" in word and not word.endswith(":")}
    cached = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True, timeout=60).stdout
    for line in cached.splitlines():
        name, _, path = line.strip().partition(" ")
        if name in _LOADED_BY_NAME and "x86-64" in line:
            found.add(Path(path.rpartition(" ")[2]))
    for path in sorted(found):
        if path.name.startswith("libpython"):
            yield f"usr/lib/x86_64-linux-gnu/{path.name}", path.resolve()
        elif path.exists():
            where = str(path).lstrip("/")
            yield where if where.startswith("usr/") else f"usr/{where}", path.resolve()

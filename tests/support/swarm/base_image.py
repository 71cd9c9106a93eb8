"""An image like ``python:3.11-slim`` of this machine's own files, for machines that reach no registry."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROGRAMS = ("sh", "sleep", "env", "id", "ls", "cat", "grep")
_LEFT_OUT = frozenset({"site-packages", "__pycache__", "test", "tests", "idlelib", "tkinter", "ensurepip"})
_LOADED_BY_NAME = frozenset(
    {
        "libdl.so.2", "libgcc_s.so.1", "libgomp.so.1", "libnss_dns.so.2", "libnss_files.so.2", "libpthread.so.0",
        "libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1",
    }
)  # fmt: skip
"""Libraries that no program names: of the C library's look-ups, and what wheels expect of a machine."""
_WORTH_STRIPPING = 100_000
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
        _add(tar, program, f"usr/local/bin/{version}")
        for name in ("python", "python3"):
            info = tarfile.TarInfo(f"usr/local/bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, version
            tar.addfile(info)
        for file in modules:
            _add(tar, file.resolve(), f"usr/local/lib/{version}/{file.relative_to(library)}")
        binaries = [program, *programs.values(), *(f for f in modules if f.suffix == ".so")]
        for name, file in _libraries(binaries):
            _add(tar, file, name)


def _add(tar: tarfile.TarFile, file: Path, name: str) -> None:
    """Without what debuggers read, as in the image that this one stands for."""
    strip = shutil.which("strip")
    if strip is None or file.stat().st_size < _WORTH_STRIPPING or file.suffix == ".py":
        tar.add(file, name)
        return
    with tempfile.TemporaryDirectory() as scratch:
        stripped = Path(scratch) / "stripped"
        done = subprocess.run([strip, "-o", stripped, file], capture_output=True, check=False, timeout=60)
        tar.add(stripped if done.returncode == 0 else file, name)


def _is_wanted(file: Path, library: Path) -> bool:
    parts = file.relative_to(library).parts
    if not file.is_file() or _LEFT_OUT & set(parts) or file.suffix == ".a":
        return False
    # Its libraries are those of a desktop.
    return not parts[-1].startswith("_tkinter")


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

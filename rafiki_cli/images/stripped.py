"""Takes from compiled libraries what only debuggers read, where this machine has the program for that (binutils)."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_TIMEOUT_S = 60.0
_MAGIC = b"\x7fELF\x02\x01"
"""Of 64 bits, little-endian."""
_LOAD = 1


def strip_libraries(folder: Path) -> None:
    """Strip every library and program below a folder that is as sound afterwards; the others stay as they are."""
    strip = shutil.which("strip")
    if strip is None:
        return
    libraries = [f for f in folder.rglob("*") if not f.is_symlink() and f.is_file() and _is_binary(f)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done in [pool.submit(_strip, strip, library) for library in libraries]:
            done.result()


def _strip(program: str, library: Path) -> None:
    scratch = library.with_name(f"{library.name}.stripped")
    done = subprocess.run(
        [program, "--strip-unneeded", "-o", str(scratch), str(library)],
        capture_output=True, check=False, timeout=_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode == 0 and is_loadable(scratch.read_bytes()):
        scratch.replace(library)
    scratch.unlink(missing_ok=True)


def _is_binary(file: Path) -> bool:
    with file.open("rb") as f:
        return f.read(len(_MAGIC)) == _MAGIC


def is_loadable(data: bytes) -> bool:
    """Whether a library's segments are where the system's loader wants them.

    Some of what other tools have changed (wheels whose libraries were given new names) is misaligned by ``strip``, and
    refused: "ELF load command address/offset not properly aligned".
    """
    if not data.startswith(_MAGIC):
        return False
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for number in range(count):
        kind, _, offset, address, _, in_file, _, alignment = struct.unpack_from(
            "<IIQQQQQQ", data, start + number * size
        )
        if kind == _LOAD and ((alignment > 1 and (address - offset) % alignment) or offset + in_file > len(data)):
            return False
    return True

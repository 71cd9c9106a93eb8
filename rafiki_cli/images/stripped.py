"""Takes from compiled libraries what only debuggers read, where this machine has the program for that (binutils)."""

from __future__ import annotations

import shutil
import struct
import subprocess
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
    scratch = folder.parent / "stripped"
    for library in sorted(folder.rglob("*")):
        if library.is_symlink() or not library.is_file() or not _is_binary(library):
            continue
        scratch.unlink(missing_ok=True)
        done = subprocess.run(
            [strip, "--strip-unneeded", "-o", str(scratch), str(library)],
            capture_output=True, check=False, timeout=_TIMEOUT_S,
        )  # fmt: skip
        if done.returncode == 0 and is_loadable(scratch.read_bytes()):
            shutil.copyfile(scratch, library)
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

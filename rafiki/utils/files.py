"""Small files: atomic writes, private writes, reads that may find nothing."""

from __future__ import annotations

import os
from pathlib import Path


def read_text(path: Path) -> str | None:
    """The file's text, or None when there is no such file."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


def make_again(folder: Path) -> None:
    """Make a folder that was there and that somebody has deleted; never those above it, which are not ours to make."""
    folder.mkdir(mode=0o700, exist_ok=True)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data`` in one step, so that a reader sees the old or the new contents, never a part.

    The folder of ``path`` is made again if somebody has deleted it.
    """
    import tempfile  # Most who read files write none.

    prefix = f".{path.name}."
    try:
        fd, temp = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    except FileNotFoundError:
        make_again(path.parent)
        fd, temp = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        os.chmod(temp, mode)
        os.replace(temp, path)
    except OSError:
        Path(temp).unlink(missing_ok=True)
        raise


def write_private(path: Path, text: str) -> None:
    """Write a secret: only this user may read it (mode 0600), from the first byte on."""
    write_atomic(path, text.encode(), mode=0o600)


def tail_lines(path: Path, count: int, *, max_bytes: int = 65536) -> list[str]:
    """The last ``count`` lines of a log file; none when there is no file."""
    try:
        with path.open("rb") as f:
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - max_bytes))
            lines = f.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    return lines[-count:] if count > 0 else []


def size_of_folder(folder: Path) -> int:
    """Bytes of all its files on disk; links are not followed."""
    return sum(f.lstat().st_size for f in folder.rglob("*") if not f.is_dir())

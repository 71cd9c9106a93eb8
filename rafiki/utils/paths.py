"""Paths that people set: what they name, and why one cannot be used."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_REASONS = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "not permitted",
    errno.ENAMETOOLONG: "the path is too long",
    errno.ELOOP: "a link leads back to itself",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.ENOENT: "it is not there",
    errno.EEXIST: "it is there already",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this machine has too many open files",
    errno.EIO: "the disk cannot be read or written",
}


def why(error: OSError) -> str:
    """What a failure of the file system is, in words: ``no space is left on the disk``."""
    return _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__


def expand(base: Path, text: str) -> Path:
    """The absolute path that a setting names, relative to ``base``; links are followed.

    Raises:
        ValueError: in words, when it can name nothing.
    """
    if not text.strip():
        raise ValueError("it is empty")
    if "\0" in text:
        raise ValueError("it holds a zero byte")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"there is no user {text.partition('/')[0]!r} whose home it could be in") from None
    try:
        # Strict, so that a loop is told of; what is not there yet is no error.
        return (base / path).resolve(strict=True)
    except FileNotFoundError:
        return (base / path).resolve()
    except RuntimeError:
        raise ValueError(_REASONS[errno.ELOOP]) from None
    except PermissionError:
        return (base / path).absolute()
    except OSError as e:
        raise ValueError(why(e)) from None


def why_no_folder(path: Path) -> str | None:
    """Why a path can be no folder, neither now nor once it is made; None when it can."""
    for part in (path, *path.parents):
        try:
            if part.is_dir():
                return None
            if part.is_symlink():
                where = "" if part == path else f"{part} "
                return f"{where or 'it '}is a link to {os.readlink(part)}, which is not there"
            if part.exists():
                kind = "a file" if part.is_file() else "no folder"
                return f"it is {kind}" if part == path else f"{part} is {kind}"
        except PermissionError:
            return None  # Its owner sees more; who writes there is told.
        except OSError as e:
            return why(e)
    return None

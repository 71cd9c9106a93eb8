"""Reads uploaded zip files without ever extracting them, and refuses those made to do harm."""

from __future__ import annotations

import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.zip_structure import METHODS, check_directory, check_entries

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ZipLimits(NamedTuple):
    """What an uploaded zip may hold; whatever is larger is taken for a decompression bomb."""

    max_entries: int = 500_000
    max_total_bytes: int = 64 << 30
    """Of all entries together, unpacked."""
    max_ratio: float = 200.0
    """Unpacked to packed, of all entries together; only looked at above ``ratio_free_bytes``."""
    ratio_free_bytes: int = 64 << 20


DEFAULT_LIMITS = ZipLimits()
_KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
_ENCRYPTIONS = 0x1 | 0x40 | 0x2000
"""Flags of a password, of strong encryption, and of headers that are encrypted."""
_AES = 99
# Names that open a device on Windows, with whatever ending: a model may unpack what it was given there.
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{kind}{n}" for kind in ("COM", "LPT") for n in range(1, 10))})
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, NotImplementedError, ValueError,
    OverflowError, MemoryError,
)  # fmt: skip


def _missing(archive: zipfile.ZipFile, name: str, origin: str) -> InvalidDatasetError:
    told = f"{origin}there is no file {name!r} in the zip."
    other = next((n for n in archive.NameToInfo if n.endswith(f"/{name}") and not n.startswith("__MACOSX/")), None)
    if other is not None:
        told += f" There is {other!r}: put what is in that folder at the top of the zip."
    return InvalidDatasetError(told)


def _damaged(name: str, origin: str, why: object) -> InvalidDatasetError:
    return InvalidDatasetError(f"{origin}{name!r} in the zip is damaged or cannot be read ({why}).")


def _plain(name: str) -> str:
    """A path without steps that lead nowhere."""
    if not ("./" in name or "//" in name or name.endswith(("/", "."))):
        return name  # As almost all are: a path object takes longer than all else that is looked at.
    return str(PurePosixPath(name))


def find_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo | None:
    """The file ``name`` of a zip from :func:`open_dataset_zip`."""
    return archive.NameToInfo.get(name) or archive.NameToInfo.get(_plain(name))


def _check_entry(info: zipfile.ZipInfo) -> None:
    # Not `filename`, which ends at a zero byte.
    name = info.orig_filename
    parts = name.split("/")
    if not name or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise InvalidDatasetError(f"The zip holds the unsafe path {name!r}; a path has printable characters only.")
    if name.startswith("/") or "\\" in name or ".." in parts or parts[0].endswith(":"):
        raise InvalidDatasetError(f"The zip holds the unsafe path {name!r}; paths must stay inside the zip.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InvalidDatasetError(f"The zip holds {name!r}, a symbolic link; put the file itself in.")
    if stat.S_IFMT(info.external_attr >> 16) not in _KINDS:
        raise InvalidDatasetError(f"The zip holds {name!r}, which is neither a file nor a folder.")
    if device := next((part for part in parts if part.partition(".")[0].rstrip(" ").upper() in _DEVICES), None):
        raise InvalidDatasetError(f"The zip holds {name!r}: {device!r} names a device on Windows. Rename it.")
    if info.flag_bits & _ENCRYPTIONS or info.compress_type == _AES:
        raise InvalidDatasetError(f"{name!r} in the zip is encrypted; make the zip without a password.")
    if info.compress_type not in METHODS:
        raise InvalidDatasetError(
            f"{name!r} in the zip is packed by method {info.compress_type}, which is not read here; make the zip with "
            "deflate."
        )


@contextmanager
def open_dataset_zip(path: Path | str, limits: ZipLimits = DEFAULT_LIMITS) -> Iterator[zipfile.ZipFile]:
    """The zip at ``path``, all of whose entries have been checked. Read members with :func:`read_member`.

    Raises:
        InvalidDatasetError: when it is no zip, holds unsafe paths, links, encrypted files, one name twice, or too much,
            or when its parts are not where and what it says.
    """
    try:
        check_directory(path, limits.max_entries)
        archive = zipfile.ZipFile(path)
    except _DAMAGE as e:
        if isinstance(e, OSError) and e.errno:
            raise InvalidDatasetError(f"The dataset cannot be read: {e.strerror}.") from e
        is_zip = zipfile.is_zipfile(path)
        what = "is a damaged zip file: its list of files cannot be read" if is_zip else "is no zip file, or is cut off"
        raise InvalidDatasetError(f"The dataset {what}.") from e
    with archive:
        infos = archive.infolist()
        total_bytes = packed_bytes = 0
        names: set[str] = set()
        for info in infos:
            _check_entry(info)
            # "./a.png" is the same file as "a.png".
            name = _plain(info.filename)
            if name in names and not info.is_dir():
                raise InvalidDatasetError(f"The zip holds {name!r} twice: readers differ in which one they take.")
            names.add(name)
            archive.NameToInfo.setdefault(name, info)
            total_bytes += info.file_size
            packed_bytes += info.compress_size
        if total_bytes > limits.max_total_bytes:
            raise InvalidDatasetError(
                f"The zip unpacks to {total_bytes:,} bytes; at most {limits.max_total_bytes:,} are taken."
            )
        if total_bytes > limits.ratio_free_bytes and total_bytes > limits.max_ratio * max(packed_bytes, 1):
            raise InvalidDatasetError(
                f"The zip unpacks to {total_bytes / max(packed_bytes, 1):,.0f} times its size; at most "
                f"{limits.max_ratio:g} times is taken."
            )
        check_entries(archive, infos)
        yield archive


def read_member(archive: zipfile.ZipFile, name: str, max_bytes: int, origin: str = "") -> bytes:
    """The contents of the file ``name``, checked against its checksum.

    Args:
        archive: from :func:`open_dataset_zip`.
        name: the file's path in the zip.
        max_bytes: the largest file that is read.
        origin: where the name was found, such as ``"images.csv, row 17: "``, for messages.

    Raises:
        InvalidDatasetError: when there is no such file, or it is damaged or too large.
    """
    info = find_member(archive, name)
    if info is None:
        raise _missing(archive, name, origin)
    try:
        if info.file_size > max_bytes:
            raise InvalidDatasetError(
                f"{origin}{name!r} has {info.file_size:,} bytes; at most {max_bytes:,} are taken."
            )
        # zipfile reads no more than the size that the entry declares, and then checks its CRC.
        data = archive.read(info)
    except _DAMAGE as e:
        raise _damaged(name, origin, e) from e
    if len(data) != info.file_size:
        raise _damaged(name, origin, f"it says that it has {info.file_size:,} bytes and has {len(data):,}")
    return data


class _Member(io.RawIOBase):
    """A member's bytes one after another; damage raises where it is reached."""

    def __init__(self, stream: IO[bytes], name: str, origin: str, n_bytes: int) -> None:
        self._stream, self._name, self._origin = stream, name, origin
        self._missing_bytes = n_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            view = memoryview(buffer).cast("B")
            data = self._stream.read(len(view))
        except _DAMAGE as e:
            raise _damaged(self._name, self._origin, e) from e
        if view and not data and self._missing_bytes:
            raise _damaged(self._name, self._origin, f"it lacks {self._missing_bytes:,} bytes of those that it says")
        self._missing_bytes -= len(data)
        view[: len(data)] = data
        return len(data)


@contextmanager
def open_member(archive: zipfile.ZipFile, name: str, origin: str = "") -> Iterator[IO[bytes]]:
    """The contents of the file ``name``, to be read from its beginning to its end: its checksum is looked at there.

    Args:
        archive: from :func:`open_dataset_zip`.
        name: the file's path in the zip.
        origin: where the name was found, such as ``"audios.csv, row 17: "``, for messages.

    Raises:
        InvalidDatasetError: when there is no such file, or, while it is read, when it is damaged.
    """
    info = find_member(archive, name)
    if info is None:
        raise _missing(archive, name, origin)
    try:
        stream = archive.open(info)
    except _DAMAGE as e:
        raise _damaged(name, origin, e) from e
    with stream, io.BufferedReader(_Member(stream, name, origin, info.file_size), 1 << 16) as reader:
        yield reader

"""Whether the parts of a zip file are where and what they say: readers that look at different parts would differ, and
entries that share their bytes unpack to far more than they are.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rafiki.errors import InvalidDatasetError

_MOST_DIRECTORY_BYTES = 256 << 20
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")
_DIRECTORY_BYTES, _LENGTHS_AT = 46, 28
_MOST_COMMENT_BYTES = 0xFFFF
_IN_ZIP64, _COUNT_IN_ZIP64 = 0xFFFFFFFF, 0xFFFF
_ENCRYPTED, _SIZES_FOLLOW, _IS_UTF8 = 0x1, 0x8, 0x800
_USUAL_HEADER_BYTES = 256
# No deflate stream holds more than 258 bytes in 2 bits.
_MOST_DEFLATED = 1032
_MOST_LZMA_DICTIONARY_BYTES = 64 << 20
_LZMA_HEAD = struct.Struct("<2sHBL")
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})


class _Directory(NamedTuple):
    """What the end of a zip says of its list of files."""

    n_entries: int
    n_bytes: int
    start: int
    end: int
    """Where it has to end, because what it is told by begins there."""
    disks: tuple[int, ...]


def check_directory(path: Path | str, max_entries: int) -> None:
    """The list of files of the zip at ``path``, before anything is made of it: it may be as large as the file.

    What cannot be found at all is left to the reader to tell.

    Raises:
        InvalidDatasetError: the list is too long, is not what the end of the zip says, or other data are around it.
    """
    with Path(path).open("rb") as file:
        directory = _find_directory(file)
        if directory is None:
            return
        if directory.n_entries > max_entries:
            raise _too_many(directory.n_entries, max_entries)
        if any(directory.disks):
            raise InvalidDatasetError("The zip is one part of several; make one zip of all files.")
        if directory.n_bytes > _MOST_DIRECTORY_BYTES:
            raise InvalidDatasetError(
                f"The zip's list of files has {directory.n_bytes:,} bytes; {_MOST_DIRECTORY_BYTES:,} are the most."
            )
        between = directory.end - directory.start - directory.n_bytes
        if between < 0:
            raise InvalidDatasetError("The dataset is a damaged zip file: its list of files is not where it says.")
        if between > 0:
            raise InvalidDatasetError(
                f"The zip has {between:,} bytes of other data before its first entry, or around its list of files; "
                "make the zip anew."
            )
        file.seek(directory.start)
        n_found = _count(file.read(directory.n_bytes), max_entries)
    if n_found > max_entries:
        raise _too_many(n_found, max_entries)
    if n_found != directory.n_entries:
        raise InvalidDatasetError(
            f"The dataset is a damaged zip file: it says that it holds {directory.n_entries:,} entries, and lists "
            f"{n_found:,}."
        )


def _too_many(n_entries: int, max_entries: int) -> InvalidDatasetError:
    return InvalidDatasetError(f"The zip holds {n_entries:,} entries; at most {max_entries:,} are taken.")


def _find_directory(file: BinaryIO) -> _Directory | None:
    size = file.seek(0, os.SEEK_END)
    tail_bytes = min(size, _END.size + _MOST_COMMENT_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        return None
    _, disk, first_disk, n_here, n_entries, n_bytes, start, comment_bytes = _END.unpack_from(tail, at)
    if at + _END.size + comment_bytes != len(tail):
        raise InvalidDatasetError("The zip is damaged, or has other data after its end; make the zip anew.")
    end = size - tail_bytes + at
    found = _Directory(n_entries, n_bytes, start, end, (disk, first_disk, n_entries - n_here))
    return _find_directory_64(file, found) or found


def _find_directory_64(file: BinaryIO, told: _Directory) -> _Directory | None:
    """What the record of a zip64 says instead. Readers differ in where they look for it, so it has one place."""
    needs_it = told.n_entries == _COUNT_IN_ZIP64 or _IN_ZIP64 in (told.n_bytes, told.start)
    at = told.end - _LOCATOR_64.size - _END_64.size
    if at < 0:
        return None
    file.seek(at)
    data = file.read(_END_64.size + _LOCATOR_64.size)
    signature, offset, n_disks = (_LOCATOR_64.unpack_from(data, _END_64.size)[i] for i in (0, 2, 3))
    if signature != b"PK\6\7":
        return None
    record, n_record_bytes, _, _, disk, first_disk, n_here, n_entries, n_bytes, start = _END_64.unpack_from(data)
    is_agreed = (
        told.n_entries in (n_entries, _COUNT_IN_ZIP64)
        and told.n_bytes in (n_bytes, _IN_ZIP64)
        and told.start in (start, _IN_ZIP64)
    )
    if record != b"PK\6\6" or n_record_bytes != _END_64.size - 12 or offset != at or not (is_agreed or needs_it):
        raise InvalidDatasetError("The dataset is a damaged zip file: its zip64 record is not what its end says.")
    if not is_agreed:
        raise InvalidDatasetError("The dataset is a damaged zip file: its zip64 record and its end do not agree.")
    return _Directory(n_entries, n_bytes, start, at, (disk, first_disk, n_disks - 1, n_entries - n_here))


def _count(data: bytes, max_entries: int) -> int:
    """How many entries a list of files has, no further than one above the most."""
    at = count = 0
    while at + _DIRECTORY_BYTES <= len(data) and count <= max_entries:
        at += _DIRECTORY_BYTES + sum(struct.unpack_from("<3H", data, at + _LENGTHS_AT))
        count += 1
    return count


def check_entries(archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo]) -> None:
    """Each entry where the list of files has it: it is there, is what the list says, and shares no byte with another.

    Raises:
        InvalidDatasetError: naming the first entry that is not.
    """
    assert archive.fp is not None
    descriptor = archive.fp.fileno()
    end, before = 0, ""
    for info in sorted(infos, key=lambda i: i.header_offset):
        name = info.filename
        if info.header_offset < end:
            raise InvalidDatasetError(
                f"{name!r} in the zip overlaps {before!r}: the same bytes would be unpacked more than once."
            )
        data_at = _check_header(descriptor, info)
        end, before = data_at + info.compress_size, name
        if end > archive.start_dir:
            raise _damaged(name, "it reaches beyond the files of the zip")
        if info.compress_type == zipfile.ZIP_LZMA:
            _check_lzma(descriptor, data_at, name)
    first = min((info.header_offset for info in infos), default=0)
    if first:
        raise InvalidDatasetError(
            f"The zip has {first:,} bytes of other data before its first entry; make the zip anew."
        )


def _check_header(descriptor: int, info: zipfile.ZipInfo) -> int:
    """Where the data of an entry begin, whose own header agrees with the list of files."""
    try:
        data = os.pread(descriptor, _USUAL_HEADER_BYTES, info.header_offset)
    except (OSError, OverflowError):
        data = b""
    if len(data) < _LOCAL.size or data[:4] != b"PK\3\4":
        raise _damaged(info.filename, "it is not where the list of files says")
    n_name: int
    n_extra: int
    _, _, flags, method, _, _, _, packed, unpacked, n_name, n_extra = _LOCAL.unpack_from(data)
    if _LOCAL.size + n_name > len(data):
        data = os.pread(descriptor, _LOCAL.size + n_name, info.header_offset)
    encoding = "utf-8" if info.flag_bits & _IS_UTF8 else "cp437"
    if data[_LOCAL.size : _LOCAL.size + n_name] != info.orig_filename.encode(encoding, "replace"):
        raise _damaged(info.filename, "it has another name in the list of files")
    if method != info.compress_type or (flags ^ info.flag_bits) & _ENCRYPTED:
        raise _damaged(info.filename, "it is packed otherwise than the list of files says")
    sizes = ((packed, info.compress_size), (unpacked, info.file_size))
    is_told_later = bool(flags & _SIZES_FOLLOW)
    if any(own not in (listed, _IN_ZIP64) and not (is_told_later and own == 0) for own, listed in sizes):
        raise _damaged(info.filename, "it has another size in the list of files")
    if (method == zipfile.ZIP_STORED and info.file_size != info.compress_size) or (
        method == zipfile.ZIP_DEFLATED and info.file_size > _MOST_DEFLATED * (info.compress_size + 1)
    ):
        raise _damaged(
            info.filename, f"{info.compress_size:,} bytes cannot unpack to the {info.file_size:,} that it says"
        )
    return info.header_offset + _LOCAL.size + n_name + n_extra


def _check_lzma(descriptor: int, data_at: int, name: str) -> None:
    """LZMA takes the memory that its first bytes say, before it has unpacked anything."""
    head = os.pread(descriptor, _LZMA_HEAD.size, data_at)
    if len(head) == _LZMA_HEAD.size and _LZMA_HEAD.unpack(head)[3] > _MOST_LZMA_DICTIONARY_BYTES:
        raise InvalidDatasetError(
            f"{name!r} in the zip needs a dictionary of more than {_MOST_LZMA_DICTIONARY_BYTES >> 20} MiB to be "
            "unpacked; make the zip with deflate."
        )


def _damaged(name: str, why: str) -> InvalidDatasetError:
    return InvalidDatasetError(f"{name!r} in the zip is damaged: {why}.")

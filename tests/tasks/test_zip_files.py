"""Zip files made to do harm: each is refused with what is wrong, before anything is unpacked."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.zip_files import ZipLimits, open_dataset_zip, open_member, read_member

LOCAL, LISTED, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def zip_of(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def named(name: str, mode: int = 0, data: bytes = b"x") -> bytes:
    """A zip of one entry, whose name is written as it is."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("x" * len(name))
        info.external_attr = mode << 16
        archive.writestr(info, data)
    return out.getvalue().replace(b"x" * len(name), name.encode("cp437")) if name else out.getvalue()


def patched(data: bytes, signature: bytes, offset: int, form: str, value: int, nth: int = 0) -> bytes:
    """A zip in which a field of the nth record with a signature has another value."""
    at = -1
    for _ in range(nth + 1):
        at = data.index(signature, at + 1)
    out = bytearray(data)
    struct.pack_into(form, out, at + offset, value)
    return bytes(out)


def read_all(path: Path, limits: ZipLimits | None = None) -> dict[str, bytes]:
    with open_dataset_zip(path, limits or ZipLimits()) as archive:
        return {name: read_member(archive, name, 1 << 20) for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    def refuse(data: bytes, limits: ZipLimits | None = None) -> str:
        path = tmp_path / "data.zip"
        path.write_bytes(data)
        with pytest.raises(InvalidDatasetError) as refused:
            read_all(path, limits)
        return refused.value.message

    return refuse


GOOD = {"a.csv": b"a,b\n" * 100, "images/1.png": bytes(range(256)), "dir/": b"", "b.txt": b""}
TWO = zip_of({"a": b"1" * 50, "b": b"2" * 50}, zipfile.ZIP_STORED)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_honest_zip_is_read_whatever_it_is_packed_by(tmp_path: Path, method: int) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(zip_of(GOOD, method))
    assert read_all(path) == {name: data for name, data in GOOD.items() if name != "dir/"}


class _Pipe(io.RawIOBase):
    """Cannot go back, so sizes come after the data of each entry."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += bytes(data)  # type: ignore[call-overload]
        return len(bytes(data))  # type: ignore[call-overload]


def test_honest_zips_of_other_makers_are_read(tmp_path: Path) -> None:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in GOOD.items():
            archive.writestr(name, data)
    large = io.BytesIO()
    with zipfile.ZipFile(large, "w") as archive, archive.open("ü/é.txt", "w", force_zip64=True) as member:
        member.write(b"zip64")
    commented = io.BytesIO(zip_of({"a": b"1"}))
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"made by hand"
        archive.writestr("b", b"2")
    for data, names in ((bytes(pipe.data), 3), (large.getvalue(), 1), (commented.getvalue(), 2), (zip_of({}), 0)):
        path = tmp_path / "good.zip"
        path.write_bytes(data)
        assert len(read_all(path)) == names


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../a", "unsafe path"), ("a/../../b", "unsafe path"), ("/etc/passwd", "unsafe path"),
        ("a\\b", "unsafe path"), ("C:/a", "unsafe path"), ("C:\\a", "unsafe path"), ("\\\\host\\a", "unsafe path"),
        ("a\x00.png", "unsafe path"), ("a\nb", "unsafe path"), ("\x1b[2J", "unsafe path"), ("a\x7f", "unsafe path"),
        ("CON", "device"), ("a/nul.txt", "device"), ("Aux.png", "device"), ("com1", "device"), ("x/LPT9.a.b", "device"),
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(refusal: Callable[..., str], name: str, says: str) -> None:
    assert says in refusal(named(name))


@pytest.mark.parametrize("name", ["console", "auxiliary/a.png", "com10", "a..b", "...", "nuls.txt", "x/.hidden"])
def test_a_path_that_only_looks_like_one_is_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(named(name, data=b"1"))
    assert read_all(path) == {name: b"1"}


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (stat.S_IFLNK, "symbolic link"), (stat.S_IFCHR, "neither a file"), (stat.S_IFBLK, "neither a file"),
        (stat.S_IFIFO, "neither a file"), (stat.S_IFSOCK, "neither a file"),
    ],
)  # fmt: skip
def test_what_is_no_file_is_refused(refusal: Callable[..., str], kind: int, says: str) -> None:
    assert says in refusal(named("entry", kind | 0o777))


@pytest.mark.parametrize("names", [("a.txt", "a.txt"), ("a.txt", "./a.txt"), ("x/a", "x//a")])
def test_a_name_that_occurs_twice_is_refused(refusal: Callable[..., str], names: tuple[str, str]) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "_writecheck", lambda *_: None)
        for i, name in enumerate(names):
            archive.writestr(name, str(i))
    assert "twice" in refusal(out.getvalue())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (patched(patched(TWO, LOCAL, 6, "<H", 1), LISTED, 8, "<H", 1), "encrypted"),
        (patched(TWO, LISTED, 8, "<H", 0x40), "encrypted"),
        (patched(TWO, LISTED, 8, "<H", 0x2000), "encrypted"),
        (patched(patched(TWO, LOCAL, 8, "<H", 99), LISTED, 10, "<H", 99), "encrypted"),
        (patched(TWO, LOCAL, 6, "<H", 1), "packed otherwise"),
        (patched(patched(TWO, LOCAL, 8, "<H", 9), LISTED, 10, "<H", 9), "method 9"),
        (patched(patched(TWO, LOCAL, 8, "<H", 93), LISTED, 10, "<H", 93), "method 93"),
        (patched(TWO, LOCAL, 8, "<H", 8), "packed otherwise"),
        (patched(TWO, LOCAL, 22, "<L", 49), "another size"),
        (patched(TWO, LOCAL, 18, "<L", 1), "another size"),
        (patched(patched(TWO, LOCAL, 22, "<L", 5000), LISTED, 24, "<L", 5000), "cannot unpack"),
        (patched(TWO, LOCAL, 30, "<B", ord("z")), "another name"),
        (patched(TWO, LISTED, 42, "<L", 90, nth=1), "not where"),
        (patched(TWO, LISTED, 42, "<L", 0, nth=1), "overlaps"),
        (patched(patched(TWO, END, 8, "<H", 1), END, 10, "<H", 1), "holds 1 entries, and lists 2"),
        (patched(patched(TWO, END, 8, "<H", 700), END, 10, "<H", 700), "holds 700 entries, and lists 2"),
        (patched(TWO, END, 12, "<L", 10), "other data"),
        (patched(TWO, END, 16, "<L", 100_000), "not where it says"),
        (patched(TWO, END, 10, "<H", 1), "one part of several"),
        (patched(TWO, END, 4, "<H", 3), "one part of several"),
        (patched(TWO, END, 20, "<H", 9), "after its end"),
        (TWO + b"more", "after its end"),
        (b"#!/bin/sh\n" + TWO, "before its first entry"),
        (TWO + TWO, "before its first entry"),
        (b"", "no zip file"),
        (TWO[:-30], "no zip file"),
    ],
)
def test_a_zip_whose_parts_do_not_agree_is_refused(refusal: Callable[..., str], data: bytes, says: str) -> None:
    assert says in refusal(data)


def test_data_before_the_first_entry_are_refused_when_the_list_counts_them_in(refusal: Callable[..., str]) -> None:
    out = io.BytesIO(b"MZ" + bytes(500))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("a", b"1")
    assert "502 bytes of other data before its first entry" in refusal(out.getvalue())


@pytest.mark.parametrize(
    ("offset", "form", "value", "says"),
    [(32, "<Q", 1 << 40, "entries"), (40, "<Q", 1 << 62, "list of files has"), (48, "<Q", 1 << 62, "not where"),
     (0, "<L", 7, "zip64"), (4, "<Q", 1 << 40, "zip64"), (24, "<Q", 9, "one part of several"),
     (16, "<L", 3, "one part of several"), (56 + 8, "<Q", 5, "zip64"), (56 + 16, "<L", 2, "one part of several")],
)  # fmt: skip
def test_the_record_of_a_zip64_that_lies_is_refused(
    refusal: Callable[..., str], offset: int, form: str, value: int, says: str
) -> None:
    at = TWO.index(END)
    n_bytes, start = struct.unpack_from("<LL", TWO, at + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, n_bytes, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2LH", END, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    block = bytearray(record + locator)
    struct.pack_into(form, block, offset, value)
    assert says in refusal(TWO[:at] + bytes(block) + end)
    differs = end[:10] + struct.pack("<H", 1) + end[12:]
    assert "do not agree" in refusal(TWO[:at] + record + locator + differs)


def overlapping(n_entries: int, kernel_bytes: int) -> bytes:
    """A zip all of whose entries are the same deflate stream, each header quoted by the one before."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = deflate.compress(bytes(kernel_bytes)) + deflate.flush()
    plain, listed = io.BytesIO(), io.BytesIO()
    crc = zlib.crc32(bytes(kernel_bytes))
    for i in range(n_entries):
        name = f"{i:06}".encode()
        fields = (20, 0, 8, 0, 0, crc, len(kernel), kernel_bytes, len(name), 0)
        at = plain.tell()
        plain.write(struct.pack("<4s5H3L2H", LOCAL, *fields) + name)
        listed.write(struct.pack("<4s6H3L5H2L", LISTED, 20, *fields, 0, 0, 0, 0, at) + name)
    plain.write(kernel)
    body, directory = plain.getvalue(), listed.getvalue()
    end = struct.pack("<4s4H2LH", END, 0, 0, n_entries, n_entries, len(directory), len(body), 0)
    return body + directory + end


def test_a_bomb_of_overlapping_entries_is_refused_before_it_is_unpacked(refusal: Callable[..., str]) -> None:
    free = ZipLimits(max_ratio=1e12)
    assert "overlaps '000000'" in refusal(overlapping(1000, 1 << 20), free)


def test_a_bomb_of_one_entry_is_refused_by_its_ratio(refusal: Callable[..., str]) -> None:
    data = zip_of({"a": bytes(100 << 20)})
    assert "times its size" in refusal(data)


def test_entries_are_counted_before_they_are_read(refusal: Callable[..., str]) -> None:
    n_entries = 300_000
    listed = struct.pack("<4s6H3L5H2L", LISTED, *[0] * 16) * n_entries
    for told in (0, 1, n_entries & 0xFFFF):
        end = struct.pack("<4s4H2LH", END, 0, 0, told, told, len(listed), 0, 0)
        data = listed + end
        tracemalloc.start()
        try:
            assert "entries; at most 1,000 are taken" in refusal(data, ZipLimits(max_entries=1000))
            assert tracemalloc.get_traced_memory()[1] < 3 * len(data)
        finally:
            tracemalloc.stop()


def test_an_entry_that_ends_before_its_size_is_refused(tmp_path: Path) -> None:
    data = zip_of({"a": b"1" * 50})
    longer = patched(patched(data, LOCAL, 22, "<L", 60), LISTED, 24, "<L", 60)
    path = tmp_path / "data.zip"
    path.write_bytes(longer)
    with open_dataset_zip(path) as archive:
        with pytest.raises(InvalidDatasetError, match="says that it has 60 bytes and has 50"):
            read_member(archive, "a", 100)
        with open_member(archive, "a") as member, pytest.raises(InvalidDatasetError, match="lacks 10 bytes"):
            member.read()


def test_lzma_does_not_take_the_memory_that_it_names(refusal: Callable[..., str]) -> None:
    data = zip_of({"a": b"1" * 50}, zipfile.ZIP_LZMA)
    assert "dictionary of more than 64 MiB" in refusal(patched(data, LOCAL, 31 + 5, "<L", 0xFFFFFFFF))


def test_a_zip_in_the_zip_is_a_file_like_any_other(tmp_path: Path) -> None:
    inner = overlapping(10, 1000)
    path = tmp_path / "data.zip"
    path.write_bytes(zip_of({"inner.zip": inner}))
    assert read_all(path) == {"inner.zip": inner}

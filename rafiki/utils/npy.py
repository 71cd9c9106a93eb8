"""The npy format of arrays, read from and written to bytes without numpy; nothing in a file is ever run.

Format: NEP 1, "A simple file format for NumPy arrays", versions 1.0 to 3.0. Of the types those are known that have a
value in JSON: booleans, integers, floats and text.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from math import prod
from typing import Literal, NamedTuple

MAGIC = b"\x93NUMPY"
"""What an array begins with, and no JSON does: it is no UTF-8."""
NATIVE = "<" if sys.byteorder == "little" else ">"
_ALIGNED_BYTES = 64
_MOST_HEADER_BYTES = 4096
_MOST_DIMENSIONS = 32
_MOST_EMPTY = 1 << 16
"""Parts of an array without elements: they take no bytes, but become lists."""
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
_CHARACTER_BYTES = {"U": 4, "S": 1}
_OTHERS = {"O": "Python objects", "c": "complex numbers", "M": "dates", "m": "durations", "V": "raw bytes"}
_CELLS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}
_PLAIN = re.compile(
    rb"\{'descr': '([<>|=]?[a-zA-Z]\d{1,9})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, )*\d{1,18},?)?\), \} *\n?"
)
_TYPE = re.compile(r"([<>|=]?)([a-zA-Z])(\d{0,9})(\[.*\])?")


class NpyError(ValueError):
    """Why bytes are no array that is taken: what follows ``the array cannot be read: ``."""


class NpyHeader(NamedTuple):
    """What an array is."""

    byte_order: str
    """``<``, ``>`` or, for what has none, ``|``."""
    kind: str
    """As numpy names it: ``b``, ``i``, ``u``, ``f``, ``U`` (text) or ``S`` (text as bytes)."""
    item_bytes: int
    is_fortran: bool
    """Whether the first axis, not the last, is the one of adjacent elements."""
    shape: tuple[int, ...]
    start: int
    """Where the elements begin."""

    @property
    def dtype(self) -> str:
        """For ``numpy.dtype()``."""
        size = self.item_bytes // _CHARACTER_BYTES.get(self.kind, 1)
        return f"{self.byte_order}{self.kind}{size}"


def read_header(data: bytes) -> NpyHeader:
    """The header of an array whose elements are all there.

    Raises:
        NpyError: when it is none, is damaged or cut off, or holds what has no value in JSON.
    """
    if not data.startswith(MAGIC):
        raise NpyError("it does not begin as an npy file does")
    version = bytes(data[6:8])
    n_length = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}.get(version)
    if n_length is None:
        told = ".".join(map(str, version)) if len(version) == len(MAGIC[:2]) else "no version"
        raise NpyError(f"its format is {told}, where 1.0 to 3.0 are known")
    start = 8 + n_length + int.from_bytes(data[8 : 8 + n_length], "little")
    if start > _MOST_HEADER_BYTES:
        raise NpyError("its header is too long")
    text = bytes(data[8 + n_length : start])
    if len(data) < start:
        raise NpyError("it is cut off in its header")
    if plain := _PLAIN.fullmatch(text):
        descr: object = plain[1].decode()
        is_fortran: object = plain[2] == b"True"
        shape: object = tuple(int(n) for n in (plain[3] or b"").split(b",") if n.strip())
    else:
        descr, is_fortran, shape = _read_unusual(text)
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise NpyError(f"{_short(shape)} is no shape")
    if len(shape) > _MOST_DIMENSIONS:
        raise NpyError(f"it has {len(shape)} dimensions, where {_MOST_DIMENSIONS} is the most")
    if type(is_fortran) is not bool:
        raise NpyError("its header is damaged: fortran_order is neither True nor False")
    byte_order, kind, item_bytes = _read_type(descr)
    needed, found = item_bytes * prod(shape), len(data) - start
    if found != needed:
        raise NpyError(
            f"an array of the shape {told_shape(shape)} and the type {descr!r} has {needed:,} bytes, and {found:,} came"
        )
    if 0 in shape and prod(n for n in shape if n) > _MOST_EMPTY:
        raise NpyError(f"it is empty (shape {told_shape(shape)})")
    return NpyHeader(byte_order, kind, item_bytes, is_fortran, shape, start)


def _read_unusual(text: bytes) -> tuple[object, object, object]:
    """A header as other programs write it: a literal of Python."""
    try:
        header = ast.literal_eval(text.decode("latin-1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as e:
        raise NpyError("its header is damaged") from e
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise NpyError("its header is damaged: it names descr, fortran_order and shape")
    return header["descr"], header["fortran_order"], header["shape"]


def _read_type(descr: object) -> tuple[str, str, int]:
    if isinstance(descr, (list, tuple)):
        raise NpyError("it is a structured array: its elements have named fields")
    found = _TYPE.fullmatch(descr) if isinstance(descr, str) else None
    if found is None or found[4]:
        raise NpyError(f"{_short(descr)} is no type of elements")
    order, kind, size = found[1], found[2], int(found[3] or 0)
    if kind in _OTHERS:
        raise NpyError(
            f"it holds {_OTHERS[kind]}, where numbers, booleans and text are taken"
            + (". Convert it, such as with array.astype(float) or array.astype(str)" if kind == "O" else "")
        )
    if not size or (kind not in _CHARACTER_BYTES and size not in _SIZES.get(kind, ())):
        raise NpyError(f"{_short(descr)} is no type of elements that is taken")
    item_bytes = size * _CHARACTER_BYTES.get(kind, 1)
    if item_bytes == 1 or kind == "S":
        return "|", kind, item_bytes
    return order if order in ("<", ">") else NATIVE, kind, item_bytes


def _short(value: object) -> str:
    return repr(value)[:80]


def told_shape(shape: tuple[int, ...]) -> str:
    """A shape, for people: ``2 x 3``."""
    return " x ".join(map(str, shape)) if shape else "()"


def write_header(dtype: str, shape: tuple[int, ...], *, is_fortran: bool = False) -> bytes:
    """What goes before the elements of an array.

    Args:
        dtype: such as ``<f4``.
    """
    text = f"{{'descr': '{dtype}', 'fortran_order': {is_fortran}, 'shape': {shape!r}, }}".encode()
    n_before = len(MAGIC) + 4
    text += b" " * (-(n_before + len(text) + 1) % _ALIGNED_BYTES) + b"\n"
    return MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text


def join_arrays(arrays: Sequence[bytes]) -> bytes | None:
    """One array that :func:`split_first_axis` takes apart into ``arrays``; None where they are of several forms."""
    headers = [read_header(array) for array in arrays]
    first = headers[0]
    if first.is_fortran or any(header[:-1] != first[:-1] for header in headers):
        return None
    head = write_header(first.dtype, (len(arrays), *first.shape))
    return b"".join((head, *(memoryview(a)[h.start :] for a, h in zip(arrays, headers, strict=True))))


def split_first_axis(data: bytes, header: NpyHeader) -> Iterator[bytes]:
    """The parts of an array along its first axis, an array each.

    Raises:
        NpyError: it has no axis, or is of a type and an order of elements that cannot be split.
    """
    if not header.shape:
        raise NpyError("it is a single number or text, which has no first axis")
    n, shape = header.shape[0], header.shape[1:]
    head = write_header(header.dtype, shape, is_fortran=header.is_fortran)
    body = memoryview(data)[header.start :]
    if header.is_fortran and len(header.shape) > 1:
        cell = _CELLS.get(header.item_bytes)
        if cell is None:
            raise NpyError("its first axis is the one of adjacent elements. Send numpy.ascontiguousarray(array)")
        if 0 in header.shape:
            return (head for _ in range(n))
        # Each n-th element belongs to the same part.
        cells = body.cast(cell)
        return (head + cells[i::n].tobytes() for i in range(n))
    part_bytes = header.item_bytes * prod(shape)
    return (b"".join((head, body[i * part_bytes : (i + 1) * part_bytes])) for i in range(n))

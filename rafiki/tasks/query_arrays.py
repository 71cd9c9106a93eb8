"""Queries that are arrays rather than JSON: the same values, and the same refusals, without their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rafiki.errors import InvalidQueryError
from rafiki.utils.npy import MAGIC, NpyError, read_header

if TYPE_CHECKING:
    from rafiki.tasks.base import TaskSpec
    from rafiki.utils.values import Array


def read_array(raw: bytes) -> Array:
    """An array in the npy format, in this machine's order of bytes; it may be read only. Text is of the kind ``U``.

    Raises:
        InvalidQueryError: when it is damaged, or holds what has no value in JSON.
    """
    import numpy as np

    try:
        header = read_header(raw)
        array = np.frombuffer(raw, header.dtype, offset=header.start).reshape(
            header.shape, order="F" if header.is_fortran else "C"
        )
        if header.kind == "S":
            return np.char.decode(array, "utf-8")
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if header.kind == "U" and array.size and not _is_unicode(array):
            raise InvalidQueryError("The array of the query cannot be read: its text is no Unicode text.")
        return array
    except NpyError as e:
        raise InvalidQueryError(f"The array of the query cannot be read: {e}.") from e
    except UnicodeDecodeError as e:
        raise InvalidQueryError("The array of the query cannot be read: its text is no UTF-8.") from e


def _is_unicode(array: Array) -> bool:
    import numpy as np

    codes = np.ravel(array, order="K").view(np.uint32)
    return not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any()


def decode_value(task: TaskSpec, raw: bytes) -> object:
    """One query, as JSON or as an array in the npy format, as the object that the model's predict() gets.

    Raises:
        InvalidQueryError: says what the task takes and what came.
    """
    if not raw.startswith(MAGIC):
        return task.decode_query(raw)
    return task.decode_array(read_array(raw))

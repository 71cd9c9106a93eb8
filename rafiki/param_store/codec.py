"""Parameters as one safetensors file.

Every array is a tensor under its own key, so that any safetensors reader shows it. What safetensors has no type for
travels beside it: the ``rafiki`` entry of the file's metadata is JSON that lists each key in order with its kind.

====== ===================== =========================================================
kind   further items         where the value is
====== ===================== =========================================================
int    hexadecimal digits    here
float  ``repr``              here (``nan``, ``inf`` included; exact)
bool   true or false         here
str    the text              here, when short
text   tensor                a tensor of its UTF-8 bytes
array  tensor                a tensor of the array's dtype and shape
raw    tensor, dtype, shape  a tensor of the array's bytes (text, dates, big-endian ...)
====== ===================== =========================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from rafiki.errors import InvalidParamsError

_INDEX = "rafiki"
_RESERVED = "__metadata__"
_SHORT_STR = 1024
_NATIVE = frozenset(np.dtype(t).str for t in ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"))
_RAW_KINDS = frozenset("biufcUSMm")


def _check_array(key: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    dtype = value.dtype
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidParamsError(f"Parameter {key!r} is a masked array; store its data and its mask as two arrays.")
    if dtype.hasobject:
        raise InvalidParamsError(
            f"Parameter {key!r} is an array of Python objects; convert it first, with .astype(float) or .astype(str)."
        )
    if dtype.char in "gG":
        raise InvalidParamsError(
            f"Parameter {key!r} has the dtype {dtype}, which differs between machines; use .astype('float64')."
        )
    if dtype.kind not in _RAW_KINDS:
        raise InvalidParamsError(f"Parameter {key!r} has the dtype {dtype}, which cannot be stored; convert it first.")
    return np.asarray(value)


def _scalar(key: str, value: Any) -> str | int | float | bool:
    """The value as plain Python; numpy's scalars become what they are in Python."""
    if isinstance(value, np.generic) and not isinstance(value, np.character):
        value = value.item()
    if isinstance(value, (bool, int, float, str)):
        return value
    hint = {
        "list": "use np.array(...), or json.dumps(...) for mixed values",
        "tuple": "use np.array(...), or json.dumps(...) for mixed values",
        "dict": "use one key a value, or json.dumps(...)",
        "bytes": "use np.frombuffer(..., dtype='uint8'), or base64 text",
        "NoneType": "leave the key out",
        "Tensor": "use .detach().cpu().numpy()",
    }.get(type(value).__name__, "convert it to a str, int, float or numpy array")
    raise InvalidParamsError(f"Parameter {key!r} is a {type(value).__name__}, which cannot be stored; {hint}.")


def _tensor_name(key: str, params: Mapping[str, Any]) -> str:
    """The key itself, but for the one name that safetensors keeps for itself."""
    if key != _RESERVED:
        return key
    name = f"{key}'"
    while name in params:
        name += "'"
    return name


def encode_params(params: Mapping[str, Any]) -> bytes:
    """``params`` as the bytes of a safetensors file.

    Takes str, int, float, bool (of any size), numpy scalars (stored as Python's own) and numpy arrays of any shape of
    bool, integer, float16/32/64, complex, text, bytes and date dtypes.

    Raises:
        InvalidParamsError: names the key whose value cannot be stored, and what to use instead.
    """
    if not isinstance(params, Mapping):
        raise InvalidParamsError(f"Parameters must be a dict, not a {type(params).__name__}.")
    tensors: dict[str, npt.NDArray[Any]] = {}
    index: list[list[Any]] = []
    for key, value in params.items():
        if not isinstance(key, str):
            raise InvalidParamsError(f"Parameter {key!r}: keys must be str, not {type(key).__name__}.")
        if isinstance(value, np.ndarray):
            name = _tensor_name(key, params)
            array = _check_array(key, value)
            if array.dtype.str in _NATIVE:
                tensors[name] = np.ascontiguousarray(array).reshape(array.shape)
                index.append([key, "array", name])
            else:
                tensors[name] = np.frombuffer(array.tobytes(), dtype=np.uint8)
                index.append([key, "raw", name, array.dtype.str, list(array.shape)])
            continue
        plain = _scalar(key, value)
        if isinstance(plain, bool):
            index.append([key, "bool", plain])
        elif isinstance(plain, int):
            # Hexadecimal: Python limits how many decimal digits it converts.
            index.append([key, "int", hex(plain)])
        elif isinstance(plain, float):
            index.append([key, "float", repr(float(plain))])
        elif len(plain) <= _SHORT_STR:
            index.append([key, "str", str(plain)])
        else:
            name = _tensor_name(key, params)
            tensors[name] = np.frombuffer(plain.encode("utf-8", "surrogatepass"), dtype=np.uint8)
            index.append([key, "text", name])
    try:
        return bytes(save_tensors(tensors, metadata={_INDEX: json.dumps(index)}))
    except SafetensorError as e:
        raise InvalidParamsError(f"The parameters cannot be stored: {e}.") from e


def _read_index(data: bytes) -> list[list[Any]] | None:
    header_size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_size])
    text = header.get(_RESERVED, {}).get(_INDEX)
    return None if text is None else json.loads(text)


def _read_value(kind: str, rest: list[Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Any:
    match kind:
        case "array":
            return tensors[rest[0]]
        case "raw":
            name, dtype, shape = rest
            if np.dtype(dtype).itemsize == 0 or math.prod(shape) == 0:
                return np.empty(shape, dtype=dtype)
            return np.frombuffer(bytearray(tensors[name].tobytes()), dtype=dtype).reshape(shape)
        case "text":
            return tensors[rest[0]].tobytes().decode("utf-8", "surrogatepass")
        case "int":
            return int(rest[0], 16)
        case "float":
            return float(rest[0])
        case "bool" | "str":
            return rest[0]
        case _:
            raise ValueError(f"unknown kind {kind!r}")


def decode_params(data: bytes) -> dict[str, Any]:
    """The inverse of :func:`encode_params`; arrays are writable. A plain safetensors file gives its tensors.

    Raises:
        InvalidParamsError: when ``data`` is no safetensors file, or not one that :func:`encode_params` made.
    """
    try:
        tensors = load_tensors(data)
        index = _read_index(data)
        if index is None:
            return dict(tensors)
        return {key: _read_value(kind, rest, tensors) for key, kind, *rest in index}
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise InvalidParamsError(f"These bytes are no parameters of a model: {e}.") from e

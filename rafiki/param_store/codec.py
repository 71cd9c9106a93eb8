"""Parameters as one safetensors file.

Every array is a tensor under its own key, so that any safetensors reader shows it. What safetensors has no type for
travels beside it: the ``rafiki`` entry of the file's metadata is JSON that lists each key in order with its kind.

====== ===================== =========================================================
kind   further items         where the value is
====== ===================== =========================================================
none                         here
int    hexadecimal digits    here
float  ``repr``              here (``nan``, ``inf`` included; exact)
bool   true or false         here
str    the text              here, when short
text   tensor                a tensor of its UTF-8 bytes
bytes  tensor                a tensor of its bytes
array  tensor                a tensor of the array's dtype and shape
raw    tensor, dtype, shape  a tensor of the array's bytes (text, dates, big-endian ...)
list   items                 here: each item with its kind
tuple  items                 here: each item with its kind
dict   pairs of items        here: key and value, each with its kind
tree   tensor                a tensor of the UTF-8 bytes of a list, tuple or dict as above, when long
====== ===================== =========================================================

An array inside of a list, tuple or dict is a tensor too, named after the way to it: ``layers/0/weights``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from rafiki.errors import InvalidParamsError

if TYPE_CHECKING:
    from rafiki.utils.values import Array

_INDEX = "rafiki"
_RESERVED = "__metadata__"
_SHORT_STR = 1024
_DEEPEST = 64
"""Lists, tuples and dicts within each other: more is soon too much for JSON."""
_NATIVE = frozenset(np.dtype(t).str for t in ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"))
_RAW_KINDS = frozenset("biufcUSMm")
_HINTS = {
    "set": "use a list",
    "frozenset": "use a list",
    "bytearray": "use bytes(...)",
    "memoryview": "use bytes(...)",
    "Tensor": "use .detach().cpu().numpy()",
}

_Entry: TypeAlias = list[Any]
"""One value in the index: its kind, then what the table above says."""


def _check_array(where: str, value: Array) -> Array:
    dtype = value.dtype
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidParamsError(f"Parameter {where} is a masked array; store its data and its mask as two arrays.")
    if dtype.hasobject:
        raise InvalidParamsError(
            f"Parameter {where} is an array of Python objects; convert it first, with .astype(float) or .astype(str)."
        )
    if dtype.char in "gG":
        raise InvalidParamsError(
            f"Parameter {where} has the dtype {dtype}, which differs between machines; use .astype('float64')."
        )
    if dtype.kind not in _RAW_KINDS:
        raise InvalidParamsError(f"Parameter {where} has the dtype {dtype}, which cannot be stored; convert it first.")
    return np.asarray(value)


class _Encoder:
    """The tensors of one file, and the entries of its index."""

    def __init__(self, names: Mapping[str, object]) -> None:
        """
        Args:
            names: the names of all parameters: a tensor within one of them takes none of these.
        """
        self.tensors: dict[str, Array] = {}
        self._names = names
        self._open: set[int] = set()
        """The containers around the value at hand."""

    def entry(self, value: object, path: tuple[object, ...]) -> _Entry:
        """The entry of a value.

        Args:
            path: the name of the parameter, then the keys and positions that lead to the value.

        Raises:
            InvalidParamsError: when it cannot be stored, naming the way to it.
        """
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if isinstance(value, np.generic) and not isinstance(value, np.character):
            # As Python's own; a date, which is none of these, is refused below.
            value = value.item()
        match value:
            case None:
                return ["none"]
            case bool():
                return ["bool", value]
            case int():
                # Hexadecimal: Python limits how many decimal digits it converts.
                return ["int", hex(value)]
            case float():
                return ["float", repr(float(value))]
            case str():
                if len(value) <= _SHORT_STR:
                    return ["str", str(value)]
                return ["text", self._store(path, _bytes_of(value.encode("utf-8", "surrogatepass")))]
            case bytes():
                return ["bytes", self._store(path, _bytes_of(value))]
            case list() | tuple() | dict():
                return self._container(value, path)
        hint = _HINTS.get(type(value).__name__, "convert it to a number, text, list, dict or numpy array")
        raise InvalidParamsError(
            f"Parameter {_where(path)} is a {type(value).__name__}, which cannot be stored; {hint}."
        )

    def _container(
        self, value: list[object] | tuple[object, ...] | dict[object, object], path: tuple[object, ...]
    ) -> _Entry:
        if id(value) in self._open:
            raise InvalidParamsError(f"Parameter {_where(path)} contains itself, which cannot be stored.")
        if len(path) > _DEEPEST:
            raise InvalidParamsError(
                f"Parameter {_where(path[:1])} has more than {_DEEPEST} lists and dicts within each other."
            )
        self._open.add(id(value))
        if isinstance(value, dict):
            pairs = [[self._key(key, path), self.entry(item, (*path, key))] for key, item in value.items()]
            found: _Entry = ["dict", pairs]
        else:
            kind = "list" if isinstance(value, list) else "tuple"
            found = [kind, [self.entry(item, (*path, i)) for i, item in enumerate(value)]]
        self._open.remove(id(value))
        if len(path) > 1:
            return found
        text = json.dumps(found)
        if len(text) <= _SHORT_STR:
            return found
        # The header of a safetensors file is limited; a tensor is not.
        return ["tree", self._store(path, _bytes_of(text.encode()))]

    def _key(self, key: object, path: tuple[object, ...]) -> _Entry:
        if key is None or isinstance(key, (bool, int, float, str, np.bool_, np.number)):
            return self.entry(key, (*path, key))
        raise InvalidParamsError(
            f"Parameter {_where(path)} has a key that is a {type(key).__name__}, which cannot be stored; use text or a "
            "number."
        )

    def _array(self, value: Array, path: tuple[object, ...]) -> _Entry:
        array = _check_array(_where(path), value)
        if array.dtype.str in _NATIVE:
            return ["array", self._store(path, np.ascontiguousarray(array).reshape(array.shape))]
        return ["raw", self._store(path, _bytes_of(array.tobytes())), array.dtype.str, list(array.shape)]

    def _store(self, path: tuple[object, ...], tensor: Array) -> str:
        """Take a tensor; returns its name: that of the parameter, and within one the way to it."""
        # Halves of surrogate pairs are no UTF-8.
        name = "/".join(str(part) for part in path).encode("utf-8", "replace").decode()
        # The name that safetensors keeps for itself, and those that others have.
        while name == _RESERVED or name in self.tensors or (name in self._names and (name,) != path):
            name += "'"
        self.tensors[name] = tensor
        return name


def _bytes_of(data: bytes) -> Array:
    return np.frombuffer(data, dtype=np.uint8)


def _where(path: tuple[object, ...]) -> str:
    """The way to a value, as Python would write it: ``'layers'[0]['weights']``."""
    return repr(path[0]) + "".join(f"[{part!r}]" for part in path[1:])


def encode_params(params: Mapping[str, object]) -> bytes:
    """``params`` as the bytes of a safetensors file.

    Takes None, str, bytes, int, float, bool (of any size), numpy arrays of any shape of bool, integer, float16/32/64,
    complex, text, bytes and date dtypes, and lists, tuples and dicts of all these, within each other too; keys of
    inner dicts are text, numbers or None. :func:`decode_params` gives back the same values of the same types. Only
    numpy scalars, and instances of classes that derive from one of these types, become the plain type.

    Raises:
        InvalidParamsError: names the way to the value that cannot be stored, and what to use instead.
    """
    if not isinstance(params, Mapping):
        raise InvalidParamsError(f"Parameters must be a dict, not a {type(params).__name__}.")
    encoder = _Encoder(params)
    index: list[list[object]] = []
    for key, value in params.items():
        if not isinstance(key, str):
            raise InvalidParamsError(f"Parameter {key!r}: keys must be str, not {type(key).__name__}.")
        index.append([key, *encoder.entry(value, (key,))])
    try:
        return bytes(save_tensors(encoder.tensors, metadata={_INDEX: json.dumps(index)}))
    except SafetensorError as e:
        raise InvalidParamsError(f"The parameters cannot be stored: {e}.") from e


def _read_index(data: bytes) -> list[_Entry] | None:
    header_size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_size])
    text = header.get(_RESERVED, {}).get(_INDEX)
    return None if text is None else json.loads(text)


def _read_value(kind: str, rest: list[Any], tensors: Mapping[str, Array]) -> object:
    match kind:
        case "none":
            return None
        case "array":
            return tensors[rest[0]]
        case "raw":
            name, dtype, shape = rest
            if np.dtype(dtype).itemsize == 0 or math.prod(shape) == 0:
                return np.empty(shape, dtype=dtype)
            return np.frombuffer(bytearray(tensors[name].tobytes()), dtype=dtype).reshape(shape)
        case "text":
            return tensors[rest[0]].tobytes().decode("utf-8", "surrogatepass")
        case "bytes":
            return tensors[rest[0]].tobytes()
        case "int":
            return int(rest[0], 16)
        case "float":
            return float(rest[0])
        case "bool" | "str":
            return rest[0]
        case "list":
            return [_read_value(kind, rest, tensors) for kind, *rest in rest[0]]
        case "tuple":
            return tuple(_read_value(kind, rest, tensors) for kind, *rest in rest[0])
        case "dict":
            return {
                _read_value(key[0], key[1:], tensors): _read_value(item[0], item[1:], tensors) for key, item in rest[0]
            }
        case "tree":
            kind, *rest = json.loads(tensors[rest[0]].tobytes())
            return _read_value(kind, rest, tensors)
        case _:
            raise ValueError(f"unknown kind {kind!r}")


def decode_params(data: bytes) -> dict[str, object]:
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
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as e:
        raise InvalidParamsError(f"These bytes are no parameters of a model: {e}.") from e


def decode_arrays(data: bytes) -> dict[str, Array]:
    """As :func:`decode_params`, of parameters that are arrays.

    Raises:
        InvalidParamsError: when one is none, or ``data`` are no parameters at all.
    """
    arrays: dict[str, Array] = {}
    for name, value in decode_params(data).items():
        if not isinstance(value, np.ndarray):
            raise InvalidParamsError(f"Parameter {name!r} is no array.")
        arrays[name] = value
    return arrays

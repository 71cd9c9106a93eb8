"""The Open Inference Protocol, version 2, over HTTP: requests of tensors become queries, and predictions a tensor.

Source: "Open Inference Protocol (V2)" of the KServe project, and the extension for binary tensors. A tensor of numbers
becomes arrays in the npy format, one a query; its numbers are not read here where they come as bytes. It travels in
exports: no numpy.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Mapping, Sequence
from math import prod
from typing import TypeAlias

import msgspec

from rafiki.errors import InvalidRequestError
from rafiki.predictor.protocol import Asked, SlowBodyError, too_many_queries
from rafiki.tasks.base import TensorForm
from rafiki.utils.json_text import why_not_json
from rafiki.utils.mismatch import explain_json
from rafiki.utils.npy import NATIVE, told_shape, write_header
from rafiki.utils.values import JsonValue

Scalar: TypeAlias = str | int | float | bool | None

_TYPES = {
    "BOOL": "|b1", "UINT8": "|u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "|i1", "INT16": "i2",
    "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
"""Datatype -> that of npy, without its order of bytes."""
_CELLS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
"""Datatype -> the cell of memoryview and struct."""
_TEXT = "BYTES"
_MOST_DIMENSIONS = 32
_FAST_JSON_BYTES = 128 << 10
_FAST_TEXTS = 20_000
_decode_ints = msgspec.json.Decoder(list[int]).decode
_decode_floats = msgspec.json.Decoder(list[float]).decode
_decode_bools = msgspec.json.Decoder(list[bool]).decode


class InferenceModel(msgspec.Struct, frozen=True, array_like=True):
    """What is served, as the protocol names it."""

    name: str
    query: TensorForm | None
    """None = a tensor a feature: a query is an object of their values."""
    prediction: TensorForm


class _Input(msgspec.Struct, frozen=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, bool | int | float | str] = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, bool | int | float | str] = {}


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Input]
    id: str | None = None
    parameters: dict[str, bool | int | float | str] = {}
    outputs: list[_Output] = []


_decoder = msgspec.json.Decoder(_Request)


class InferenceAnswer(msgspec.Struct, frozen=True, array_like=True):
    """How a request of the protocol is answered."""

    model: InferenceModel
    id: str | None = None

    def write(self, predictions: Sequence[bytes], left_out: Mapping[str, str], version: str) -> bytes:
        """The body of the answer: one tensor, whose first axis is that of the queries. Predictions that make no tensor
        together come as their JSON texts."""
        form = self.model.prediction
        datatype, shape, data = _as_tensor([msgspec.json.decode(p) for p in predictions])
        output: dict[str, object] = {"name": form.name}
        if datatype is None:
            datatype, shape, data = _TEXT, [len(predictions)], [p.decode() for p in predictions]
            output["parameters"] = {"content_type": "application/json"}
        elif datatype == "INT64" and form.datatype == "FP64":
            datatype, data = "FP64", [float(n) for n in data if isinstance(n, (int, float))]
        answer: dict[str, object] = {"model_name": self.model.name, "model_version": version}
        if self.id is not None:
            answer["id"] = self.id
        if left_out:
            answer["parameters"] = {"left_out": msgspec.json.encode(left_out).decode()}
        answer["outputs"] = [output | {"datatype": datatype, "shape": shape, "data": data}]
        return msgspec.json.encode(answer)


def _as_tensor(predictions: Sequence[JsonValue]) -> tuple[str | None, list[int], list[JsonValue]]:
    """Datatype, shape and flat elements of values that are a regular tensor together; the datatype None where not."""
    shape, level = [len(predictions)], list(predictions)
    while level and isinstance(level[0], list):
        n = len(level[0])
        if not all(isinstance(part, list) and len(part) == n for part in level):
            return None, [], []
        shape.append(n)
        level = [item for part in level if isinstance(part, list) for item in part]
    kinds = {type(value) for value in level}
    if kinds <= {int}:
        return ("INT64" if all(-(1 << 63) <= n < 1 << 63 for n in level if isinstance(n, int)) else None), shape, level
    if kinds <= {int, float}:
        return "FP64", shape, level
    if kinds == {bool}:
        return "BOOL", shape, level
    return ("BYTES" if kinds == {str} else None), shape, level


def read_inference(
    body: bytes,
    header_bytes: int | None,
    model: InferenceModel,
    deadline_s: float,
    *,
    most_queries: int,
    is_hurried: bool = False,
) -> Asked:
    """What the body of an inference request asks for. The first axis of its tensors is that of the queries.

    Args:
        header_bytes: the length of its JSON, which binary tensors follow; None = it is JSON alone.
        is_hurried: what takes more than a few milliseconds to read is left to another.

    Raises:
        SlowBodyError: that is so.
        InvalidRequestError: it is no request of the protocol, or not for this model.
        PredictorBusyError: it holds too many queries.
    """
    length = len(body) if header_bytes is None else header_bytes
    if length > len(body):
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {length:,}, and the whole body has {len(body):,} bytes."
        )
    if is_hurried and length > _FAST_JSON_BYTES:
        raise SlowBodyError
    text = body[:length]
    try:
        request = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise InvalidRequestError(
            f"The body is no inference request of the Open Inference Protocol: {explain_json(text, _Request)}."
        ) from e
    for output in request.outputs:
        if output.name != model.prediction.name:
            raise InvalidRequestError(f"There is no output {output.name[:80]!r}. It is {model.prediction.name!r}.")
    n = _n_queries(request, model, most_queries)
    tensors, rest = [], memoryview(body)[length:]
    for tensor in request.inputs:
        if is_hurried and tensor.datatype == _TEXT and prod(tensor.shape) > _FAST_TEXTS:
            raise SlowBodyError
        part, rest = _binary_part(tensor, rest)
        tensors.append(_read_tensor(tensor, part))
    if len(rest):
        raise InvalidRequestError(f"{len(rest):,} bytes follow the last tensor.")
    queries = (
        _rows_of_columns(request.inputs, tensors, n) if model.query is None else _split(request.inputs[0], tensors[0])
    )
    return Asked(queries, False, _timeout_s(request, deadline_s), InferenceAnswer(model, request.id))


def _n_queries(request: _Request, model: InferenceModel, most_queries: int) -> int:
    """How many queries the tensors hold, which fit each other and the model.

    Raises:
        InvalidRequestError, PredictorBusyError: they do not.
    """
    if not request.inputs:
        raise InvalidRequestError('"inputs" is empty: a request has at least one tensor.')
    for tensor in request.inputs:
        if tensor.datatype not in _TYPES and tensor.datatype != _TEXT:
            valid = ", ".join((*_TYPES, _TEXT))
            raise InvalidRequestError(f"{_named(tensor)} has the datatype {tensor.datatype[:80]!r}; known are {valid}.")
        shape = tuple(tensor.shape)
        if not shape or min(shape) < 0 or len(shape) > _MOST_DIMENSIONS:
            raise InvalidRequestError(
                f"{_named(tensor)} has the shape {_short_shape(shape)}: the first axis is that of the queries, and "
                "no length is negative."
            )
        first = request.inputs[0]
        if shape[0] != first.shape[0]:
            raise InvalidRequestError(f"{_named(tensor)} has {shape[0]} queries, and {_named(first)} {first.shape[0]}.")
        if shape[0] > most_queries:
            raise too_many_queries(shape[0], most_queries)
        if model.query is None and shape[1:] not in ((), (1,)):
            raise InvalidRequestError(
                f"{_named(tensor)} has the shape {_short_shape(shape)}: this task takes a tensor a feature, of one "
                "value a query."
            )
    if model.query is not None:
        _check_only(request.inputs, model.query)
    return request.inputs[0].shape[0]


def _check_only(inputs: Sequence[_Input], form: TensorForm) -> None:
    if len(inputs) > 1:
        raise InvalidRequestError(f"{len(inputs)} tensors came, where this task takes one ({form.name!r}).")
    shape = tuple(inputs[0].shape)
    if form.is_fixed and inputs[0].datatype != _TEXT and form.datatype != _TEXT and len(shape) != len(form.shape):
        raise InvalidRequestError(
            f"{_named(inputs[0])} has the shape {_short_shape(shape)}, where this task takes {len(form.shape)} axes: "
            f"{list(form.shape)}, the first that of the queries, -1 = any length."
        )


def _binary_part(tensor: _Input, rest: memoryview) -> tuple[memoryview | None, memoryview]:
    """The bytes of a tensor, where it has any, and what follows them."""
    size = tensor.parameters.get("binary_data_size")
    if "shared_memory_region" in tensor.parameters:
        raise InvalidRequestError(f"{_named(tensor)} is in shared memory, which is not read. Send its elements.")
    if size is None:
        return None, rest
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(rest):
        raise InvalidRequestError(
            f"{_named(tensor)} has the binary_data_size {size!r}, and {len(rest):,} bytes are left of the body."
        )
    if tensor.data is not msgspec.UNSET:
        raise InvalidRequestError(f"{_named(tensor)} has both data and binary_data_size.")
    return rest[:size], rest[size:]


def _read_tensor(tensor: _Input, binary: memoryview | None) -> memoryview | list[str]:
    """The elements of a tensor, as bytes in this machine's order, or as texts."""
    n = prod(tensor.shape)
    if tensor.datatype == _TEXT:
        texts = _read_texts(tensor) if binary is None else _read_binary_texts(tensor, binary, n)
        if len(texts) != n:
            raise _wrong_count(tensor, len(texts))
        return texts
    item_bytes = struct.calcsize(_CELLS[tensor.datatype])
    found = memoryview(_read_numbers(tensor)) if binary is None else binary
    if len(found) != n * item_bytes:
        if binary is None:
            raise _wrong_count(tensor, len(found) // item_bytes)
        raise InvalidRequestError(
            f"{_named(tensor)} has the shape {_short_shape(tensor.shape)} of {tensor.datatype}, which are "
            f"{n * item_bytes:,} bytes, and {len(found):,} came."
        )
    return found


def _wrong_count(tensor: _Input, found: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"{_named(tensor)} has the shape {_short_shape(tensor.shape)}, which are {prod(tensor.shape):,} elements, and "
        f"{found:,} came."
    )


def _read_numbers(tensor: _Input) -> bytes:
    if tensor.datatype == "FP16":
        raise InvalidRequestError(f"{_named(tensor)} is of FP16, which JSON does not carry. Send it as binary data.")
    # Elements come flat or nested: their order is the same.
    flat = b"[%b]" % _data_of(tensor).translate(None, b"[]")
    try:
        match tensor.datatype:
            case "BOOL":
                return bytes(_decode_bools(flat))
            case "FP32" | "FP64":
                return array(_CELLS[tensor.datatype], _decode_floats(flat)).tobytes()
            case _:
                return array(_CELLS[tensor.datatype], _decode_ints(flat)).tobytes()
    except (msgspec.DecodeError, OverflowError) as e:
        raise InvalidRequestError(f"The data of {_named(tensor)} are not all of {tensor.datatype}.") from e


def _data_of(tensor: _Input) -> bytes:
    if tensor.data is msgspec.UNSET:
        raise InvalidRequestError(f"{_named(tensor)} has neither data nor binary_data_size.")
    return bytes(tensor.data)


def _read_texts(tensor: _Input) -> list[str]:
    raw = _data_of(tensor)
    try:
        level: list[JsonValue] = [msgspec.json.decode(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise InvalidRequestError(f"The data of {_named(tensor)} cannot be read: {why_not_json(raw) or e}.") from e
    for _ in range(_MOST_DIMENSIONS):
        if not any(isinstance(value, list) for value in level):
            break
        level = [item for value in level for item in (value if isinstance(value, list) else [value])]
    texts = [value for value in level if isinstance(value, str)]
    if len(texts) < len(level):
        raise InvalidRequestError(f"The data of {_named(tensor)} are not all texts.")
    return texts


def _read_binary_texts(tensor: _Input, binary: memoryview, n: int) -> list[str]:
    """Elements of a length, in four bytes, and as many bytes each."""
    texts: list[str] = []
    at = 0
    while at < len(binary) and len(texts) <= n:
        start = at + 4
        at = start + int.from_bytes(binary[at:start], "little")
        if start > len(binary) or at > len(binary):
            raise InvalidRequestError(f"The binary data of {_named(tensor)} are cut off in element {len(texts)}.")
        try:
            texts.append(str(binary[start:at], "utf-8"))
        except UnicodeDecodeError as e:
            raise InvalidRequestError(
                f"Element {len(texts)} of {_named(tensor)} is no UTF-8 text. Send a file as base64 text, or its "
                "bytes as a tensor of UINT8."
            ) from e
    return texts


def _split(tensor: _Input, elements: memoryview | list[str]) -> list[bytes]:
    """A query for each part along the first axis: an array, or texts as JSON."""
    n, shape = tensor.shape[0], tuple(tensor.shape[1:])
    if isinstance(elements, list):
        each = prod(shape)
        return [msgspec.json.encode(_nested(elements[i * each : (i + 1) * each], shape)) for i in range(n)]
    dtype = _TYPES[tensor.datatype]
    head = write_header(dtype if dtype.startswith("|") else NATIVE + dtype, shape)
    part_bytes = len(elements) // n if n else 0
    return [b"".join((head, elements[i * part_bytes : (i + 1) * part_bytes])) for i in range(n)]


def _nested(flat: Sequence[str], shape: tuple[int, ...]) -> JsonValue:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return list(flat)
    each = prod(shape[1:])
    return [_nested(flat[i * each : (i + 1) * each], shape[1:]) for i in range(shape[0])]


def _rows_of_columns(inputs: Sequence[_Input], tensors: Sequence[memoryview | list[str]], n: int) -> list[bytes]:
    """Objects of the features' values; a number that is none (NaN) is a missing value."""
    columns: dict[str, list[Scalar]] = {}
    for tensor, elements in zip(inputs, tensors, strict=True):
        if tensor.name in columns:
            raise InvalidRequestError(f"Two tensors have the name {tensor.name[:80]!r}.")
        values: Sequence[Scalar] = (
            elements if isinstance(elements, list) else struct.unpack(f"={n}{_CELLS[tensor.datatype]}", elements)
        )
        columns[tensor.name] = [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]
    names = list(columns)
    return [msgspec.json.encode(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _timeout_s(request: _Request, deadline_s: float) -> float:
    """Servers of the protocol take a time limit in microseconds."""
    timeout_us = request.parameters.get("timeout")
    if timeout_us is None:
        return deadline_s
    if isinstance(timeout_us, (str, bool)) or not timeout_us > 0:
        raise InvalidRequestError('The parameter "timeout" must be a number of microseconds above 0.')
    return min(deadline_s, timeout_us / 1_000_000)


def _named(tensor: _Input) -> str:
    return f"The input {tensor.name[:80]!r}"


def _short_shape(shape: Sequence[int]) -> str:
    return told_shape(tuple(shape[:_MOST_DIMENSIONS]))

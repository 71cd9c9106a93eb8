"""Whether two versions give the same answer to a request."""

from __future__ import annotations

import math

import msgspec

from rafiki.utils.values import JsonValue

_REL_TOL, _ABS_TOL = 1e-3, 1e-6
"""Numbers that differ by less say the same: two ways of computing one thing round differently."""


class _Tensor(msgspec.Struct):
    """Of an answer by the Open Inference Protocol."""

    shape: list[int]
    data: list[JsonValue]

    def rows(self) -> list[JsonValue]:
        """What it says of each query."""
        if len(self.shape) == 1:
            return self.data
        each = len(self.data) // max(1, self.shape[0])
        return [self.data[i : i + each] for i in range(0, len(self.data), each)] if each else []


class _Body(msgspec.Struct):
    prediction: JsonValue = None
    predictions: list[JsonValue] = []
    outputs: list[_Tensor] = []

    def __post_init__(self) -> None:
        for tensor in self.outputs:
            self.predictions = [*self.predictions, *tensor.rows()]


_decode = msgspec.json.Decoder(_Body).decode


def do_agree(one: bytes, other: bytes) -> bool:
    """Whether two bodies of answers predict the same: by their classes, where predictions are probabilities."""
    if one == other:
        return True
    first, second = _decode(one), _decode(other)
    pairs = [(first.prediction, second.prediction), *zip(first.predictions, second.predictions, strict=False)]
    return len(first.predictions) == len(second.predictions) and all(_is_same(a, b) for a, b in pairs)


def _is_same(one: JsonValue, other: JsonValue) -> bool:
    if _is_number(one) and _is_number(other):
        return math.isclose(float(one), float(other), rel_tol=_REL_TOL, abs_tol=_ABS_TOL)  # type: ignore[arg-type]
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return False
        if _are_probabilities(one) and _are_probabilities(other):
            return _best(one) == _best(other)
        return all(_is_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[key]) for key, value in one.items())
    return one == other


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_probabilities(values: list[JsonValue]) -> bool:
    if len(values) < 2 or not all(_is_number(v) and 0.0 <= float(v) <= 1.0 for v in values):  # type: ignore[arg-type]
        return False
    return math.isclose(math.fsum(float(v) for v in values), 1.0, abs_tol=0.01)  # type: ignore[arg-type]


def _best(values: list[JsonValue]) -> int:
    return max(range(len(values)), key=lambda i: float(values[i]))  # type: ignore[arg-type]

"""Knobs: the declared hyper-parameters of a model template, and their JSON form.

A knob configuration is ``{name: knob}``. It is read from model code once, in a throw-away subprocess at upload, and
travels afterwards as JSON (:func:`knob_config_to_json`), so that no trusted process imports model code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from rafiki import knob_specs
from rafiki.errors import ModelError
from rafiki.knob_specs import (
    ArchKnobSpec,
    CategoricalKnobSpec,
    FixedKnobSpec,
    FloatKnobSpec,
    IntegerKnobSpec,
    KnobSpec,
    KnobSpecs,
    PolicyKnobSpec,
    Scalar,
)
from rafiki.utils.values import JsonObject, JsonValue

Knobs: TypeAlias = knob_specs.Knobs
"""One point of a search space: knob name -> value (a list of values for an :class:`ArchKnob`)."""
POLICIES = ("SHARE_PARAMS", "EARLY_STOP", "SKIP_TRAIN", "QUICK_EVAL", "DOWNSCALE")


def _scalar_of(value: object) -> Scalar:
    """A scalar candidate; numpy scalars are unwrapped by :class:`KnobValue` before this."""
    if isinstance(value, (bool, int, float, str)):
        return value
    raise ModelError(f"A knob value must be an int, float, bool or str; {value!r} is a {type(value).__name__}.")


class KnobValue:
    """One candidate value: an int, float, bool or str; numpy scalars are taken as these.

    The *same* object at two positions of an :class:`ArchKnob` means the same thing; two objects of equal value mean two
    things.
    """

    def __init__(self, value: object) -> None:
        if isinstance(value, KnobValue):
            value = value.value
        if hasattr(value, "item") and not isinstance(value, (bool, int, float, str)):
            value = value.item()
        self._value = _scalar_of(value)
        # Not type(): numpy's float64 is a float, too.
        self._dtype = next(kind for kind in (bool, int, float, str) if isinstance(self._value, kind))
        if isinstance(self._value, float) and not math.isfinite(self._value):
            raise ModelError(f"A knob value must be finite, not {value!r}.")

    @property
    def value(self) -> Scalar:
        """The plain value."""
        return self._value

    @property
    def dtype(self) -> type:
        """Its Python type."""
        return self._dtype

    def __repr__(self) -> str:
        return f"KnobValue({self._value!r})"


CategoricalValue: TypeAlias = Scalar | KnobValue
"""A candidate as model files write it."""


def _one_type(values: list[KnobValue], what: str) -> type:
    types = {v.dtype for v in values}
    if len(types) != 1:
        names = ", ".join(sorted(t.__name__ for t in types))
        raise ModelError(f"{what} must have candidates of one type; found {names}.")
    return types.pop()


def _refuse_look_alikes(position: list[KnobValue]) -> None:
    """Refuse candidates that are equal though of different types (1 and True): nobody could tell which was chosen."""
    types: dict[Scalar, type] = {}
    for candidate in position:
        if types.setdefault(candidate.value, candidate.dtype) is not candidate.dtype:
            raise ModelError(
                f"An ArchKnob has {types[candidate.value](candidate.value)!r} and {candidate.value!r} at one position, "
                "which are equal. Give one of them another value."
            )


class BaseKnob:
    """One dimension of the search space: the class of all knobs."""

    @property
    def value_type(self) -> type:
        """The Python type of its values."""
        raise NotImplementedError

    def to_json(self) -> JsonObject:
        """The knob as plain JSON values, with its kind under ``type``."""
        raise NotImplementedError

    def check(self, value: object) -> Scalar | list[Scalar]:
        """``value`` as this knob's type.

        Raises:
            ModelError: when the knob cannot take this value; says what it takes.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        fields = ", ".join(f"{k}={v!r}" for k, v in self.to_json().items() if k != "type")
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(repr(self))


class FixedKnob(BaseKnob):
    """A knob with one value, which ``__init__`` always gets."""

    def __init__(self, value: object) -> None:
        self._value = value if isinstance(value, KnobValue) else KnobValue(value)

    @property
    def value(self) -> KnobValue:
        """The value."""
        return self._value

    @property
    def value_type(self) -> type:
        """The Python type of the candidates."""
        return self._value.dtype

    def to_json(self) -> JsonObject:
        return {"type": "fixed", "value": self._value.value}

    def check(self, value: object) -> Scalar:
        if value != self._value.value:
            raise ModelError(f"This knob is fixed to {self._value.value!r}; it cannot be {value!r}.")
        return self._value.value


class CategoricalKnob(BaseKnob):
    """A knob with a list of candidates, all of one type; ``__init__`` gets one of them."""

    def __init__(self, values: Iterable[object]) -> None:
        self._values = [v if isinstance(v, KnobValue) else KnobValue(v) for v in values]
        if not self._values:
            raise ModelError("A CategoricalKnob needs at least one value.")
        self._dtype = _one_type(self._values, "A CategoricalKnob")

    @property
    def values(self) -> list[KnobValue]:
        """The candidates."""
        return self._values

    @property
    def value_type(self) -> type:
        """The Python type of the candidates."""
        return self._dtype

    def to_json(self) -> JsonObject:
        return {"type": "categorical", "values": [v.value for v in self._values]}

    def check(self, value: object) -> Scalar:
        for candidate in self._values:
            if type(value) is candidate.dtype and value == candidate.value:
                return candidate.value
        raise ModelError(f"{value!r} is none of the candidates {[v.value for v in self._values]}.")


def _check_range(kind: str, low: float, high: float, is_exp: bool) -> None:
    if high < low:
        raise ModelError(f"{kind}: value_max ({high}) lies below value_min ({low}).")
    if is_exp and low <= 0:
        raise ModelError(f"{kind}: with is_exp=True value_min must be above 0, not {low}.")


class IntegerKnob(BaseKnob):
    """An integer from ``value_min`` to ``value_max``, both included.

    With ``is_exp`` it is searched on a logarithmic scale, and ``value_min`` must be above 0.
    """

    value_type: type = int

    def __init__(self, value_min: int, value_max: int, is_exp: bool = False) -> None:
        for name, value in (("value_min", value_min), ("value_max", value_max)):
            if isinstance(value, bool) or int(value) != value:
                raise ModelError(f"IntegerKnob: {name} must be an integer, not {value!r}.")
        self.value_min, self.value_max, self.is_exp = int(value_min), int(value_max), bool(is_exp)
        _check_range("IntegerKnob", self.value_min, self.value_max, self.is_exp)

    def to_json(self) -> JsonObject:
        return {
            "type": "integer",
            "value_min": self.value_min,
            "value_max": self.value_max,
            "is_exp": self.is_exp,
        }

    def check(self, value: object) -> Scalar:
        if isinstance(value, bool) or not isinstance(value, int) or not self.value_min <= value <= self.value_max:
            raise ModelError(f"Needs an integer from {self.value_min} to {self.value_max}, not {value!r}.")
        return value


class FloatKnob(BaseKnob):
    """A finite real number from ``value_min`` to ``value_max``.

    With ``is_exp`` it is searched on a logarithmic scale, and ``value_min`` must be above 0: 0.001 to 0.01 then gets as
    much attention as 0.01 to 0.1.
    """

    value_type: type = float

    def __init__(self, value_min: float, value_max: float, is_exp: bool = False) -> None:
        try:
            self.value_min, self.value_max, self.is_exp = float(value_min), float(value_max), bool(is_exp)
        except (TypeError, ValueError) as e:
            raise ModelError(f"FloatKnob: value_min and value_max must be numbers ({e}).") from e
        if not (math.isfinite(self.value_min) and math.isfinite(self.value_max)):
            raise ModelError("FloatKnob: value_min and value_max must be finite.")
        _check_range("FloatKnob", self.value_min, self.value_max, self.is_exp)

    def to_json(self) -> JsonObject:
        return {
            "type": "float",
            "value_min": self.value_min,
            "value_max": self.value_max,
            "is_exp": self.is_exp,
        }

    def check(self, value: object) -> Scalar:
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not self.value_min <= value <= self.value_max
        ):
            raise ModelError(f"Needs a number from {self.value_min} to {self.value_max}, not {value!r}.")
        return float(value)


class PolicyKnob(BaseKnob):
    """A switch that the search turns on in some trials: ``__init__`` gets True while it is on, else False.

    ``policy`` is ``SHARE_PARAMS``, ``EARLY_STOP``, ``SKIP_TRAIN``, ``QUICK_EVAL`` or ``DOWNSCALE``. A model that
    declares one promises to obey it.
    """

    value_type: type = bool

    def __init__(self, policy: str) -> None:
        if str(policy) not in POLICIES:
            raise ModelError(f"Unknown policy {policy!r}; the policies are {', '.join(POLICIES)}.")
        self.policy = str(policy)

    def to_json(self) -> JsonObject:
        return {"type": "policy", "policy": self.policy}

    def check(self, value: object) -> Scalar:
        if not isinstance(value, bool):
            raise ModelError(f"The policy {self.policy} is on (True) or off (False), not {value!r}.")
        return value


class ArchKnob(BaseKnob):
    """An architecture: ``__init__`` gets a list, at each position one of the candidates of ``items`` at that position.

    ``items`` is a list of lists; the candidates may be of several types, such as numbers of layers and names of
    operations.
    """

    value_type: type = list

    def __init__(self, items: Iterable[Iterable[object]]) -> None:
        self._items = [[v if isinstance(v, KnobValue) else KnobValue(v) for v in position] for position in items]
        if not self._items or not all(self._items):
            raise ModelError("An ArchKnob needs at least one position, and each position at least one candidate.")
        for position in self._items:
            _refuse_look_alikes(position)

    @property
    def items(self) -> list[list[KnobValue]]:
        """The candidates of each position."""
        return self._items

    def __len__(self) -> int:
        return len(self._items)

    def to_json(self) -> JsonObject:
        # Identity matters: candidates that are the same object share one key.
        keys: dict[int, int] = {}
        values: list[JsonValue] = []
        positions: list[JsonValue] = []
        for position in self._items:
            row: list[JsonValue] = []
            for candidate in position:
                if id(candidate) not in keys:
                    keys[id(candidate)] = len(values)
                    values.append(candidate.value)
                row.append(keys[id(candidate)])
            positions.append(row)
        return {"type": "arch", "values": values, "items": positions}

    def check(self, value: object) -> list[Scalar]:
        if not isinstance(value, list) or len(value) != len(self._items):
            raise ModelError(f"Needs a list of {len(self._items)} choices, not {value!r}.")
        found: list[Scalar] = []
        for i, (choice, position) in enumerate(zip(value, self._items, strict=True)):
            candidates = [v.value for v in position]
            if choice not in candidates:
                raise ModelError(f"Position {i}: {choice!r} is none of {candidates}.")
            found.append(candidates[candidates.index(choice)])
        return found


KnobConfig: TypeAlias = dict[str, BaseKnob]
"""A search space: knob name -> knob."""


def knob_config_to_json(config: KnobConfig) -> dict[str, JsonObject]:
    """The configuration as plain JSON values.

    Raises:
        ModelError: when ``config`` is no dict of knobs.
    """
    if not isinstance(config, dict):
        raise ModelError(f"get_knob_config() must return a dict of knobs, not a {type(config).__name__}.")
    out = {}
    for name, knob in config.items():
        if not isinstance(name, str) or not isinstance(knob, BaseKnob):
            raise ModelError(f"get_knob_config(): {name!r} must be a knob, not a {type(knob).__name__}.")
        out[name] = knob.to_json()
    return out


def knob_config_from_json(specs: Mapping[str, JsonObject]) -> KnobConfig:
    """The inverse of :func:`knob_config_to_json`.

    Raises:
        ModelError: when one is no knob.
    """
    try:
        return from_knob_specs(msgspec.convert(specs, KnobSpecs))
    except msgspec.ValidationError as e:
        raise ModelError(f"This is no configuration of knobs: {e}.") from e


def serialize_knob_config(config: KnobConfig) -> str:
    """The configuration as JSON text; the inverse of :func:`deserialize_knob_config`.

    Raises:
        ModelError: as :func:`to_knob_specs` does.
    """
    return msgspec.json.encode(to_knob_specs(config)).decode()


def deserialize_knob_config(text: str | bytes) -> KnobConfig:
    """The configuration that :func:`serialize_knob_config` wrote.

    Raises:
        ModelError: when ``text`` is none: no JSON, an unknown kind of knob, or values that a knob cannot have.
    """
    try:
        return from_knob_specs(msgspec.json.decode(text, type=KnobSpecs))
    except (msgspec.MsgspecError, IndexError) as e:
        raise ModelError(f"This text is no configuration of knobs: {e}.") from e


def to_knob_specs(config: KnobConfig) -> KnobSpecs:
    """The configuration as it travels.

    Raises:
        ModelError: when ``config`` is no dict of knobs, or a value is none that JSON holds.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(knob_config_to_json(config)), type=KnobSpecs)
    except (msgspec.MsgspecError, TypeError, OverflowError) as e:
        raise ModelError(f"get_knob_config(): a value cannot be written down: {e}.") from e


def from_knob_specs(specs: KnobSpecs) -> KnobConfig:
    """The inverse of :func:`to_knob_specs`."""
    return {name: _knob_of(spec) for name, spec in specs.items()}


def _knob_of(spec: KnobSpec) -> BaseKnob:
    match spec:
        case FixedKnobSpec():
            return FixedKnob(spec.value)
        case CategoricalKnobSpec():
            return CategoricalKnob(spec.values)
        case IntegerKnobSpec():
            return IntegerKnob(spec.value_min, spec.value_max, spec.is_exp)
        case FloatKnobSpec():
            return FloatKnob(spec.value_min, spec.value_max, spec.is_exp)
        case PolicyKnobSpec():
            return PolicyKnob(spec.policy)
        case ArchKnobSpec():
            values = [KnobValue(v) for v in spec.values]
            return ArchKnob([[values[i] for i in position] for position in spec.items])


def check_knobs(config: KnobConfig, knobs: Knobs) -> Knobs:
    """``knobs`` with every value checked against its knob.

    Raises:
        ModelError: when a knob is missing, unknown, or has a value it cannot take.
    """
    if missing := config.keys() - knobs.keys():
        raise ModelError(f"No value for the knob(s) {', '.join(sorted(missing))}.")
    if unknown := knobs.keys() - config.keys():
        raise ModelError(f"Unknown knob(s) {', '.join(sorted(unknown))}; known: {', '.join(sorted(config))}.")
    out = {}
    for name, knob in config.items():
        try:
            out[name] = knob.check(knobs[name])
        except ModelError as e:
            raise ModelError(f"Knob {name!r}: {e.message}") from e
    return out

"""The search space of a knob configuration, knobs to unit cube and back.

Each dimension is one coordinate in [0, 1]. Floats map linearly (or in the logarithm, with ``is_exp``);
integers and choices own one bin each, so that a uniform coordinate reaches every value, both ends included.
"""

from __future__ import annotations

import itertools
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from rafiki.errors import ModelError
from rafiki.knob_specs import Knobs, Scalar
from rafiki.model.constraints import parse_constraints
from rafiki.model.knobs import (
    ArchKnob,
    CategoricalKnob,
    FixedKnob,
    FloatKnob,
    IntegerKnob,
    KnobConfig,
    KnobValue,
    PolicyKnob,
)

Key: TypeAlias = tuple[Scalar, ...]
"""The identity of a point: its value in each dimension. Policies are no part of it."""

_REJECTION_TRIES = 64
_ENUMERATION_LIMIT = 20_000
_CONSTRAINED_TRIES = 2_000


class Dimension(ABC):
    """One coordinate of the unit cube."""

    count: int | None
    """Distinct values; None for a continuum."""

    @abstractmethod
    def from_unit(self, u: float) -> Scalar:
        """The value at coordinate ``u`` in [0, 1]."""

    @abstractmethod
    def to_unit(self, value: Scalar) -> float:
        """The coordinate of ``value`` in [0, 1]; ``from_unit(to_unit(v)) == v`` up to rounding of floats."""

    @abstractmethod
    def values(self) -> Iterator[Scalar]:
        """All values of a countable dimension."""


class FloatDimension(Dimension):
    count = None

    def __init__(self, low: float, high: float, is_exp: bool) -> None:
        self.low, self.high, self.is_exp = low, high, is_exp
        self._a, self._b = (math.log(low), math.log(high)) if is_exp else (low, high)

    def from_unit(self, u: float) -> float:
        # A blend of both ends, because high - low can overflow.
        x = self._a * (1 - u) + self._b * u
        return min(max(math.exp(x) if self.is_exp else x, self.low), self.high)

    def to_unit(self, value: Scalar) -> float:
        x = math.log(float(value)) if self.is_exp else float(value)
        # Scaled first, because b - a can overflow; neighbouring floats can share a logarithm.
        scale = max(abs(self._a), abs(self._b)) or 1.0
        width = self._b / scale - self._a / scale
        return min(max((x / scale - self._a / scale) / width, 0.0), 1.0) if width > 0 else 0.5

    def values(self) -> Iterator[Scalar]:
        raise ModelError("A continuous knob cannot be enumerated.")


class IntegerDimension(Dimension):
    """Integers ``low`` to ``high``; value v owns the coordinates of (v - 1/2, v + 1/2) on its scale."""

    count: int

    def __init__(self, low: int, high: int, is_exp: bool) -> None:
        self.low, self.high, self.is_exp = low, high, is_exp
        self.count = high - low + 1
        try:
            ends = (low - 0.5, high + 0.5)
        except OverflowError as e:
            raise ModelError("The range of an integer knob must be within that of floating-point numbers.") from e
        self.start, end = (math.log(ends[0]), math.log(ends[1])) if is_exp else ends
        self.span = end - self.start

    def from_unit(self, u: float) -> int:
        x = self.start + u * self.span
        return min(max(round(math.exp(x) if self.is_exp else x), self.low), self.high)

    def to_unit(self, value: Scalar) -> float:
        x = math.log(float(value)) if self.is_exp else float(value)
        return min(max((x - self.start) / self.span, 0.0), 1.0)

    def values(self) -> Iterator[Scalar]:
        return iter(range(self.low, self.high + 1))


class ChoiceDimension(Dimension):
    """Unordered candidates; equal candidates count once."""

    count: int

    def __init__(self, candidates: Sequence[KnobValue]) -> None:
        self.choices: list[Scalar] = list(dict.fromkeys(c.value for c in candidates))
        self.count = len(self.choices)
        self._index = {value: i for i, value in enumerate(self.choices)}

    def from_unit(self, u: float) -> Scalar:
        return self.choices[min(int(u * self.count), self.count - 1)]

    def to_unit(self, value: Scalar) -> float:
        return (self._index[value] + 0.5) / self.count

    def values(self) -> Iterator[Scalar]:
        return iter(self.choices)


def _value_at(value: Scalar | list[Scalar], position: int | None) -> Scalar:
    """The choice at a position of an architecture; any other knob has one value, at None."""
    return value[position or 0] if isinstance(value, list) else value


class SearchSpace:
    """The dimensions of a knob configuration in the order of its knobs; what has one value only has no dimension.

    Args:
        constraints: expressions over knobs that :meth:`draw`, :meth:`points` and :meth:`complete` satisfy.

    Raises:
        ModelError: for a kind of knob that cannot be searched, or a constraint that is none.
    """

    def __init__(self, knob_config: KnobConfig, constraints: Sequence[str] = ()) -> None:
        self._config = knob_config
        self._constraints = parse_constraints(constraints, knob_config)
        self.dimensions: list[Dimension] = []
        self._slots: list[tuple[str, int | None]] = []
        """Of each dimension: its knob and, for an architecture, the position."""
        self._fixed: Knobs = {}
        self.policies: dict[str, str] = {}
        """Name -> policy of the knobs that turn one on."""
        for name, knob in knob_config.items():
            if isinstance(knob, FixedKnob):
                self._fixed[name] = knob.value.value
            elif isinstance(knob, PolicyKnob):
                self._fixed[name] = False
                self.policies[name] = knob.policy
            elif isinstance(knob, ArchKnob):
                self._fixed[name] = [position[0].value for position in knob.items]
                for i, position in enumerate(knob.items):
                    self._add(name, i, ChoiceDimension(position))
            elif isinstance(knob, CategoricalKnob):
                self._fixed[name] = knob.values[0].value
                self._add(name, None, ChoiceDimension(knob.values))
            elif isinstance(knob, IntegerKnob):
                self._fixed[name] = knob.value_min
                self._add(name, None, IntegerDimension(knob.value_min, knob.value_max, knob.is_exp))
            elif isinstance(knob, FloatKnob):
                self._fixed[name] = knob.value_min
                if knob.value_min < knob.value_max:
                    self._add(name, None, FloatDimension(knob.value_min, knob.value_max, knob.is_exp))
            else:
                raise ModelError(f"Knob {name!r}: a {type(knob).__name__} cannot be searched.")
        counts = [d.count for d in self.dimensions]
        self.size: int | None = None if None in counts else math.prod(c for c in counts if c is not None)
        """Distinct points, constraints left aside; None when a knob is continuous."""

    def _add(self, name: str, position: int | None, dimension: Dimension) -> None:
        if dimension.count != 1:
            self.dimensions.append(dimension)
            self._slots.append((name, position))

    def knobs(self, key: Sequence[Scalar]) -> Knobs:
        """Knobs with these values, one a dimension, and every policy off."""
        knobs: Knobs = {name: list(v) if isinstance(v, list) else v for name, v in self._fixed.items()}
        for (name, position), value in zip(self._slots, key, strict=True):
            choices = knobs.get(name)
            if isinstance(choices, list) and position is not None:
                choices[position] = value
            else:
                knobs[name] = value
        return knobs

    def key(self, knobs: Knobs) -> Key:
        """What makes these knobs a point of their own: the value in each dimension."""
        return tuple(_value_at(knobs[name], i) for name, i in self._slots)

    def from_unit(self, unit: Sequence[float]) -> Key:
        """The point at these coordinates, one in [0, 1] a dimension."""
        return tuple(d.from_unit(u) for d, u in zip(self.dimensions, unit, strict=True))

    def to_unit(self, key: Key) -> list[float]:
        """The coordinates of a point, one in [0, 1] a dimension; see :meth:`Dimension.to_unit`."""
        return [d.to_unit(value) for d, value in zip(self.dimensions, key, strict=True)]

    def points(self) -> Iterator[Key]:
        """Every allowed point of a finite space.

        Raises:
            ModelError: when a knob is continuous.
        """
        every = itertools.product(*(list(d.values()) for d in self.dimensions))
        return (key for key in every if self.allows_key(key)) if self._constraints else every

    def draw(self, rng: random.Random) -> Key:
        """An allowed point drawn uniformly from the unit cube.

        Raises:
            ModelError: when the constraints leave next to nothing.
        """
        for _ in range(_CONSTRAINED_TRIES):
            key = self.from_unit([rng.random() for _ in self.dimensions])
            if self.allows_key(key):
                return key
        if self.size is not None and self.size <= _ENUMERATION_LIMIT and (points := list(self.points())):
            return rng.choice(points)
        raise self._hopeless()

    def _hopeless(self) -> ModelError:
        texts = ", ".join(repr(c.text) for c in self._constraints)
        return ModelError(
            f"None of {_CONSTRAINED_TRIES:,} random points satisfies the constraints {texts}. Loosen them, or narrow "
            "the ranges of the knobs."
        )

    def allows(self, knobs: Knobs) -> bool:
        """Whether knobs satisfy all constraints."""
        return all(c.holds(knobs) for c in self._constraints)

    def allows_key(self, key: Key) -> bool:
        """Whether a point satisfies all constraints."""
        return not self._constraints or self.allows(self.knobs(key))

    @property
    def is_constrained(self) -> bool:
        return bool(self._constraints)

    def complete(self, given: Knobs, rng: random.Random) -> Knobs:
        """Allowed knobs with the values of ``given``; what it leaves out is drawn, policies are off.

        Raises:
            ModelError: when it names no knob, a knob cannot take its value, or nothing allowed has these values.
        """
        if unknown := given.keys() - self._config.keys():
            raise ModelError(f"Unknown knob(s) {', '.join(sorted(unknown))}; known: {', '.join(sorted(self._config))}.")
        checked: Knobs = {}
        for name, value in given.items():
            try:
                checked[name] = self._config[name].check(value)
            except ModelError as e:
                raise ModelError(f"Knob {name!r}: {e.message}") from e
        for _ in range(_CONSTRAINED_TRIES):
            knobs = self.knobs(self.from_unit([rng.random() for _ in self.dimensions])) | checked
            if self.allows(knobs):
                return knobs
        raise self._hopeless()

    def policy_knobs(self, policy: str) -> list[str]:
        """The knobs that turn ``policy`` on."""
        return [name for name, p in self.policies.items() if p == policy]

    def single_point(self) -> Knobs:
        """The knobs of a space without dimensions, every policy off.

        Raises:
            ModelError: when there is something to search.
        """
        if self.dimensions:
            names = ", ".join(dict.fromkeys(name for name, _ in self._slots))
            raise ModelError(f"The fixed scheme tries one point, but there is a choice in the knob(s) {names}.")
        return self.knobs(())


def draw_unseen(space: SearchSpace, rng: random.Random, seen: Collection[Key]) -> Key:
    """A random point that is none of ``seen``, or any random point once a finite space is used up."""
    for _ in range(_REJECTION_TRIES):
        key = space.draw(rng)
        if key not in seen:
            return key
    if space.size is not None and len(seen) < space.size <= _ENUMERATION_LIMIT:
        left = [key for key in space.points() if key not in seen]
        if left:
            return rng.choice(left)
    return space.draw(rng)

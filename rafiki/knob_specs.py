"""Knobs as they travel: what the admin, the advisors, the workers and the users know of a model's search space.

Model files declare them as the classes of :mod:`rafiki.model.knobs`; the kind of a knob is its ``type`` in JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

Scalar: TypeAlias = bool | int | float | str
"""A value that a knob can have at one place."""
if TYPE_CHECKING:
    Knobs: TypeAlias = dict[str, Scalar | list[Scalar]]
    """One point of a search space: knob name -> value (a list of values for an architecture)."""
else:
    # Not checked when records are read: a NaN, which JSON does not have, is stored as null, and may spoil no job.
    Knobs = dict[str, Any]


class FixedKnobSpec(msgspec.Struct, frozen=True, tag_field="type", tag="fixed"):
    """One value, which is not searched."""

    value: Scalar
    """What every trial gets."""


class CategoricalKnobSpec(msgspec.Struct, frozen=True, tag_field="type", tag="categorical"):
    """One of several candidates."""

    values: list[Scalar]
    """The candidates, all of one type."""


class IntegerKnobSpec(msgspec.Struct, frozen=True, tag_field="type", tag="integer"):
    """A whole number within a range, both ends included."""

    value_min: int
    """The lower end."""
    value_max: int
    """The upper end."""
    is_exp: bool
    """Searched on a logarithmic scale."""


class FloatKnobSpec(msgspec.Struct, frozen=True, tag_field="type", tag="float"):
    """A number within a range, both ends included."""

    value_min: float
    """The lower end."""
    value_max: float
    """The upper end."""
    is_exp: bool
    """Searched on a logarithmic scale."""


class PolicyKnobSpec(msgspec.Struct, frozen=True, tag_field="type", tag="policy"):
    """A switch that the search turns on in some trials."""

    policy: str
    """``SHARE_PARAMS``, ``EARLY_STOP``, ``SKIP_TRAIN``, ``QUICK_EVAL`` or ``DOWNSCALE``."""


class ArchKnobSpec(msgspec.Struct, frozen=True, tag_field="type", tag="arch"):
    """An architecture: a choice at each of several positions."""

    values: list[Scalar]
    """The candidates of all positions."""
    items: list[list[int]]
    """At each position the candidates, as places in ``values``: the same place at two positions means the same."""


KnobSpec: TypeAlias = (
    FixedKnobSpec | CategoricalKnobSpec | IntegerKnobSpec | FloatKnobSpec | PolicyKnobSpec | ArchKnobSpec
)
KnobSpecs: TypeAlias = dict[str, KnobSpec]
"""A search space: knob name -> knob."""

"""The SDK that model templates import.

Names are loaded at first use: a process that only needs the knobs, such as the admin, never loads numpy or Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

# Eager, because importing the module ``rafiki.model.logger`` later would put the module in the logger's place.
from rafiki.model.logger import logger

if TYPE_CHECKING:
    from rafiki.model import utils
    from rafiki.model.base import BaseModel, Params
    from rafiki.model.knobs import (
        ArchKnob,
        BaseKnob,
        CategoricalKnob,
        FixedKnob,
        FloatKnob,
        IntegerKnob,
        KnobConfig,
        Knobs,
        KnobValue,
        PolicyKnob,
    )
    from rafiki.model.loader import load_model_class

__all__ = [
    "ArchKnob",
    "BaseKnob",
    "BaseModel",
    "CategoricalKnob",
    "FixedKnob",
    "FloatKnob",
    "IntegerKnob",
    "KnobConfig",
    "KnobValue",
    "Knobs",
    "Params",
    "PolicyKnob",
    "load_model_class",
    "logger",
    "utils",
]

_HOMES = {"BaseModel": "base", "Params": "base", "load_model_class": "loader"}


def __getattr__(name: str) -> object:
    if name == "utils":
        return importlib.import_module("rafiki.model.utils")
    if name not in __all__:
        raise AttributeError(f"module 'rafiki.model' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"rafiki.model.{_HOMES.get(name, 'knobs')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

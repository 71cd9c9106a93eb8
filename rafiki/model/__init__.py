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
    from rafiki.model.dataset import CorpusDataset, DatasetUtils, ImageFilesDataset
    from rafiki.model.install_command import parse_model_install_command
    from rafiki.model.knobs import (
        ArchKnob,
        BaseKnob,
        CategoricalKnob,
        CategoricalValue,
        FixedKnob,
        FloatKnob,
        IntegerKnob,
        KnobConfig,
        Knobs,
        KnobValue,
        PolicyKnob,
        deserialize_knob_config,
        serialize_knob_config,
    )
    from rafiki.model.loader import load_model_class
    from rafiki.model.logger import LoggerUtils

__all__ = [
    "ArchKnob",
    "BaseKnob",
    "BaseModel",
    "CategoricalKnob",
    "CategoricalValue",
    "CorpusDataset",
    "DatasetUtils",
    "FixedKnob",
    "FloatKnob",
    "ImageFilesDataset",
    "IntegerKnob",
    "KnobConfig",
    "KnobValue",
    "Knobs",
    "LoggerUtils",
    "Params",
    "PolicyKnob",
    "deserialize_knob_config",
    "load_model_class",
    "logger",
    "parse_model_install_command",
    "serialize_knob_config",
    "utils",
]

_HOMES = {
    "BaseModel": "base",
    "CorpusDataset": "dataset",
    "DatasetUtils": "dataset",
    "ImageFilesDataset": "dataset",
    "LoggerUtils": "logger",
    "Params": "base",
    "load_model_class": "loader",
    "parse_model_install_command": "install_command",
}


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

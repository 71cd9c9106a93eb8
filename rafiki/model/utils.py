"""``utils`` as model code knows it: ``utils.logger``, ``utils.checkpoint``, ``utils.dataset`` and
``utils.torch_training``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from rafiki.model.checkpoint import checkpoint
from rafiki.model.logger import logger

if TYPE_CHECKING:
    from rafiki.model import dataset, torch_training

__all__ = ["checkpoint", "dataset", "logger", "torch_training"]


def __getattr__(name: str) -> object:
    # Loaded at first use, because it brings numpy and Pillow in.
    if name == "dataset":
        return importlib.import_module("rafiki.model.dataset")
    if name == "torch_training":
        return importlib.import_module("rafiki.model.torch_training")
    raise AttributeError(f"module 'rafiki.model.utils' has no attribute {name!r}")

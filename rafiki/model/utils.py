"""``utils`` as model code knows it: ``utils.logger``, ``utils.checkpoint`` and ``utils.dataset``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from rafiki.model.checkpoint import checkpoint
from rafiki.model.logger import logger

if TYPE_CHECKING:
    from rafiki.model import dataset

__all__ = ["checkpoint", "dataset", "logger"]


def __getattr__(name: str) -> object:
    # Loaded at first use, because it brings numpy and Pillow in.
    if name == "dataset":
        return importlib.import_module("rafiki.model.dataset")
    raise AttributeError(f"module 'rafiki.model.utils' has no attribute {name!r}")

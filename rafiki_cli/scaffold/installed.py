"""Which packages this machine's Python has."""

from __future__ import annotations

import importlib.util

_MODULES = {"scikit-learn": "sklearn"}
"""Packages whose module has another name."""


def is_installed(package: str) -> bool:
    """Whether a package, by its name on an index, can be imported here; it is not."""
    return importlib.util.find_spec(_MODULES.get(package, package)) is not None

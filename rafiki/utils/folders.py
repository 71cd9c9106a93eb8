"""Folders by whatever path they are reached."""

from __future__ import annotations

import os
from pathlib import Path


def is_same_folder(one: Path | str, other: Path | str) -> bool:
    """Whether two paths name one folder: by their text, or because both lead to it."""
    if str(one) == str(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False

"""Shares of a whole as people write them."""

from __future__ import annotations

import math


def parse_share(text: str | float) -> float:
    """``10%``, ``0.1``: from 0 to 1.

    Raises:
        ValueError: it is neither.
    """
    plain = str(text).strip()
    try:
        share = float(plain.removesuffix("%")) / 100 if plain.endswith("%") else float(plain)
    except ValueError:
        share = math.nan
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{plain!r} is no share: write 10% or 0.1, from 0 to 1.")
    return share


def share_text(share: float) -> str:
    """``10%``, ``0.5%``."""
    return f"{100 * share:.4g}%"

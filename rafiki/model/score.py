"""What counts as a score."""

from __future__ import annotations

import math
from typing import SupportsFloat, cast

from rafiki.errors import ModelError


def checked_score(score: object) -> float:
    """The score as a float.

    Raises:
        ModelError: when evaluate() returned no finite number.
    """
    try:
        value = float(cast(SupportsFloat, score))
    except (TypeError, ValueError, OverflowError) as e:
        raise ModelError(f"evaluate() must return a number; it returned {score!r:.80}.") from e
    if isinstance(score, str) or not math.isfinite(value):
        raise ModelError(f"evaluate() must return a finite number; it returned {score!r:.80}.")
    return value

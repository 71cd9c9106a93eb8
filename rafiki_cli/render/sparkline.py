"""A row of numbers as one line of text, as high or low as each is: pure, for tables and live views."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"
"""For terminals that cannot show blocks; from low to high too."""
MISSING = " "

Values = Sequence[float | None]


def bounds(*rows: Values) -> tuple[float, float] | None:
    """The lowest and the highest number of all ``rows``: a scale that they share; None where there is no number."""
    numbers = [v for row in rows for v in row if v is not None and math.isfinite(v)]
    return (min(numbers), max(numbers)) if numbers else None


def mean(values: Sequence[float]) -> float:
    """For rates and loads, of which every value counts."""
    # Each part before the sum, so that the largest floats do not overflow.
    return math.fsum(v / len(values) for v in values)


def last(values: Sequence[float]) -> float:
    """For curves that only rise, and for those whose latest value counts."""
    return values[-1]


def resample(values: Values, width: int, pick: Callable[[Sequence[float]], float] = mean) -> list[float | None]:
    """At most ``width`` values: each stands for as many neighbours as the others, give or take one.

    Args:
        pick: makes one number of the numbers of a group: :func:`mean`, :func:`last`, ``max`` or ``min``. A group
            without a number stays None.
    """
    if width <= 0:
        return []
    count = min(width, len(values))
    groups = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    numbers = [[v for v in group if v is not None and math.isfinite(v)] for group in groups]
    return [pick(group) if group else None for group in numbers]


def sparkline(
    values: Values,
    width: int,
    *,
    scale: tuple[float, float] | None = None,
    pick: Callable[[Sequence[float]], float] = mean,
    is_ascii: bool = False,
) -> str:
    """``values`` as text of at most ``width`` characters; one character a value where they fit.

    A value that is no number (None, NaN, an infinity) is a blank. Values that are all the same make a line at half
    height. See :func:`rafiki.analysis.curves.best_so_far` for a curve of what was reached.

    Args:
        scale: the numbers at the bottom and at the top; the lowest and highest value if left out. Values outside are
            drawn at the edge.
        pick: what stands for several values where there are more than fit; see :func:`resample`.
        is_ascii: with plain characters only.
    """
    levels = ASCII if is_ascii else BLOCKS
    shown = resample(values, width, pick)
    low, high = scale or bounds(shown) or (0.0, 0.0)
    return "".join(MISSING if v is None else levels[_level(v, low, high, len(levels))] for v in shown)


def _level(value: float, low: float, high: float, count: int) -> int:
    # Halved, so that the span of the largest floats does not overflow.
    span = high / 2 - low / 2
    if not span > 0:
        return (count - 1) // 2
    share = (value / 2 - low / 2) / span
    return min(count - 1, max(0, int(share * count)))

"""What a batch costs: learned from the batches that a model has predicted."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

_EXACT = 8
"""Sizes that have a record of their own; above, four share an octave."""
_KEPT = 15
"""Durations of one size that are kept: their median forgets a slow spell after eight batches."""
_KEPT_RATIOS = 200
_FIT_EVERY = 8
_FEW = 4
"""The first batches may be slow: models load what they need, caches are cold."""
_HALF_LIFE = 512
"""Batches after which a size that does not come any more counts half."""


def _bucket(size: int) -> int:
    return size if size <= _EXACT else _EXACT + math.ceil(4 * math.log2(size / _EXACT))


class _Size:
    """Batches of about one size."""

    __slots__ = ("durations_s", "last_no", "mean_size")

    def __init__(self, size: int) -> None:
        self.mean_size = float(size)
        self.durations_s: deque[float] = deque(maxlen=_KEPT)
        self.last_no = 0


class BatchCost:
    """The time of a batch of ``b`` queries, as ``fixed_s + each_s * b``.

    The line goes through the medians of the latest batches of each size, the freshest weighted most (least squares;
    neither part is negative), so one slow batch moves nothing and a lasting change is followed within eight batches
    of a size. The tail is the 99th percentile of how many times longer than the line's the latest 200 batches took. A
    line is what Clipper (Crankshaw et al., NSDI 2017, section 4.3) and Nexus (Shen et al., SOSP 2019, section 4)
    found to fit batches on CPUs and GPUs.
    """

    __slots__ = ("_n", "_ratios", "_sizes", "_tail_ratio", "each_s", "fixed_s")

    def __init__(self) -> None:
        self.fixed_s = 0.0
        """Costs that queries of a batch share. While all batches had one size, all of the cost: only trying tells."""
        self.each_s = 0.0
        """Costs that every query adds."""
        self._sizes: dict[int, _Size] = {}
        self._ratios: deque[float] = deque(maxlen=_KEPT_RATIOS)
        self._tail_ratio = 1.0
        self._n = 0

    @property
    def is_known(self) -> bool:
        """Whether enough batches have been seen to go by it."""
        return self._n >= _FEW

    def add(self, size: int, took_s: float) -> None:
        """Learn from a batch of ``size`` queries (1 or more)."""
        self._n += 1
        bucket = _bucket(size)
        found = self._sizes.get(bucket)
        if found is None:
            found = self._sizes[bucket] = _Size(size)
        found.mean_size += (size - found.mean_size) / 8
        found.durations_s.append(took_s)
        found.last_no = self._n
        if self._n > _FIT_EVERY:
            self._ratios.append(took_s / max(self.median_s(size), 1e-9))
        if self._n <= _FIT_EVERY or self._n % _FIT_EVERY == 0:
            self._fit()

    def median_s(self, size: int) -> float:
        """How long a batch of ``size`` takes as a rule, in seconds; 0 while nothing is known."""
        return self.fixed_s + self.each_s * size

    @property
    def tail_ratio(self) -> float:
        """How many times longer 99 of 100 batches take at most."""
        return self._tail_ratio

    def tail_s(self, size: int) -> float:
        """How long 99 of 100 batches of ``size`` take at most, in seconds; 0 while nothing is known."""
        return self._tail_ratio * self.median_s(size)

    def _fit(self) -> None:
        weight = x = y = xx = xy = 0.0
        for found in self._sizes.values():
            w = len(found.durations_s) * math.exp2((found.last_no - self._n) / _HALF_LIFE)
            few = len(found.durations_s) < _FEW
            size, took_s = found.mean_size, min(found.durations_s) if few else median(found.durations_s)
            weight, x, y, xx, xy = (
                weight + w,
                x + w * size,
                y + w * took_s,
                xx + w * size * size,
                xy + w * size * took_s,
            )
        spread = xx - x * x / weight
        each_s = (xy - x * y / weight) / spread if spread > 1e-9 * xx else 0.0
        each_s = min(max(each_s, 0.0), y / x)
        self.each_s, self.fixed_s = each_s, (y - each_s * x) / weight
        if self._ratios:
            ordered = sorted(self._ratios)
            self._tail_ratio = max(1.0, ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))])

"""A quantile of what comes, followed as it drifts."""

from __future__ import annotations

_STEP = 0.1
_FORGET = 0.999
"""What one value leaves of the largest before it: about a thousand values decide the step."""


class QuantileTracker:
    """The bound that a share ``over`` of the values exceeds: a margin that keeps a promise about late answers.

    A value above the bound raises it by ``step * (1 - over)``, any other lowers it by ``step * over``: gradient descent
    on the quantile loss, whose long-run share of values above the bound tends to ``over`` whatever order they come in
    and however they drift, without any assumption on their distribution (Gibbs and Candès, "Adaptive conformal
    inference under distribution shift", NeurIPS 2021). The step is a tenth of the largest recent value, as
    Angelopoulos, Candès and Tibshirani ("Conformal PID control for time series prediction", NeurIPS 2023, section 2.1)
    take it, so values of any scale are followed as fast.
    """

    __slots__ = ("_largest", "_least", "_most", "_over", "value")

    def __init__(self, over: float, start: float, *, least: float, most: float) -> None:
        """
        Args:
            over: between 0 and 1.
            start: the bound before anything has been seen.
            least: the bound is never lower.
            most: nor higher; what is above counts as this.
        """
        self._over, self._least, self._most = over, least, most
        self._largest = start
        self.value = min(max(start, least), most)

    def add(self, seen: float) -> None:
        """Learn from a value."""
        largest = self._largest * _FORGET
        if seen > largest:
            largest = min(seen, self._most)
        self._largest = largest
        if seen > self.value:
            self.value = min(self.value + _STEP * (1 - self._over) * largest, self._most)
        else:
            self.value = max(self.value - _STEP * self._over * largest, self._least)

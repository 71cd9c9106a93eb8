"""Durations in buckets that grow by a tenth each: small to keep, cheap to add to, quantiles within 5 percent."""

from __future__ import annotations

import math
from collections.abc import Mapping

_GROWTH = math.log(1.1)
_LEAST_S = 20e-6
N_BUCKETS = 160
"""The last one holds all from 80 s on."""
_PER_LOG = 1.0 / _GROWTH
_OFFSET = -math.log(_LEAST_S) * _PER_LOG


def bucket_of(duration_s: float) -> int:
    """The bucket of a duration; the first one also holds whatever is shorter."""
    if duration_s <= _LEAST_S:
        return 0
    return min(N_BUCKETS - 1, int(math.log(duration_s) * _PER_LOG + _OFFSET))


def quantile_s(counts: Mapping[int, int], share: float) -> float | None:
    """The duration within which ``share`` (0 to 1) of all counted ended, as the middle of its bucket.

    None when nothing was counted.
    """
    total = sum(counts.values())
    if total <= 0:
        return None
    wanted, seen = share * total, 0
    bucket = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= wanted and seen > 0:
            break
    return _LEAST_S * math.exp(_GROWTH * (min(bucket, N_BUCKETS - 1) + 0.5))

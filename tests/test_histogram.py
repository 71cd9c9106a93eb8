from __future__ import annotations

import random
import statistics

import pytest

from rafiki.utils.histogram import N_BUCKETS, bucket_of, quantile_s


@pytest.mark.parametrize("duration_s", [25e-6, 1e-4, 0.00123, 0.05, 0.7, 3.0, 60.0])
def test_a_duration_reads_back_within_five_percent(duration_s: float) -> None:
    assert quantile_s({bucket_of(duration_s): 7}, 0.5) == pytest.approx(duration_s, rel=0.05)


@pytest.mark.parametrize(("duration_s", "bucket"), [(0.0, 0), (-1.0, 0), (1e-9, 0), (1e9, N_BUCKETS - 1)])
def test_what_is_too_short_or_too_long_is_in_the_first_or_last_bucket(duration_s: float, bucket: int) -> None:
    assert bucket_of(duration_s) == bucket


def test_quantiles_are_those_of_what_was_counted() -> None:
    draw = random.Random(0)
    durations = [draw.lognormvariate(-7, 1) for _ in range(5000)]
    counts: dict[int, int] = {}
    for duration_s in durations:
        counts[bucket_of(duration_s)] = counts.get(bucket_of(duration_s), 0) + 1
    cuts = statistics.quantiles(durations, n=100)
    for percent in (5, 50, 95, 99):
        assert quantile_s(counts, percent / 100) == pytest.approx(cuts[percent - 1], rel=0.06)


@pytest.mark.parametrize("counts", [{}, {3: 0}])
def test_nothing_counted_has_no_quantile(counts: dict[int, int]) -> None:
    assert quantile_s(counts, 0.5) is None

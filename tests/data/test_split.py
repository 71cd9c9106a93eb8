"""Rows into parts."""

from __future__ import annotations

from collections import Counter

import pytest

from rafiki.data.split import split_rows

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


@pytest.mark.parametrize("n", [10, 11, 99, 1000])
def test_every_row_is_in_one_part_by_the_shares_and_the_seed_says_which(n: int) -> None:
    parts = split_rows(n, SHARES, 1)
    assert sorted(i for own in parts.values() for i in own) == list(range(n))
    for part, share in SHARES.items():
        assert abs(len(parts[part]) - share * n) < 2
    assert parts == split_rows(n, SHARES, 1)
    assert parts != split_rows(n, SHARES, 2)


def test_every_class_is_in_every_part_by_its_share() -> None:
    strata = ["a"] * 500 + ["b"] * 50 + ["c"] * 5
    parts = split_rows(len(strata), SHARES, 1, strata=strata)
    for part, share in SHARES.items():
        counts = Counter(strata[i] for i in parts[part])
        assert all(abs(counts[name] - share * strata.count(name)) <= 1 for name in "abc")


def test_many_classes_of_one_row_fill_all_parts() -> None:
    strata = [str(i) for i in range(1000)]
    parts = split_rows(1000, SHARES, 1, strata=strata)
    assert all(abs(len(parts[part]) - 1000 * share) < 80 for part, share in SHARES.items())


def test_rows_of_a_group_stay_together() -> None:
    groups = [f"g{i % 37}" for i in range(740)]
    parts = split_rows(740, SHARES, 1, groups=groups)
    where = {part: {groups[i] for i in own} for part, own in parts.items()}
    assert not where["train"] & where["val"]
    assert not (where["train"] | where["val"]) & where["test"]
    assert all(abs(len(parts[part]) - 740 * share) <= 40 for part, share in SHARES.items())


def test_the_newest_rows_are_the_last_part() -> None:
    times = [float(i * 7 % 100) for i in range(100)]
    parts = split_rows(100, SHARES, 1, times=times)
    assert max(times[i] for i in parts["train"]) < min(times[i] for i in parts["val"])
    assert max(times[i] for i in parts["val"]) < min(times[i] for i in parts["test"])

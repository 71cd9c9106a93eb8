"""Rows into parts: training, validation and test, drawn by a seed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

PARTS = ("train", "val", "test")


def split_rows(
    n_rows: int,
    shares: Mapping[str, float],
    seed: int,
    *,
    strata: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
) -> dict[str, list[int]]:
    """Which rows are in which part, in their order.

    Args:
        shares: of each part; they add up to 1.
        strata: each row's class: every class is in the parts by their shares, as far as it has rows.
        groups: rows of one group stay together.
        times: rows are in the order of time: the parts follow each other, the last is the newest.
    """
    chance = random.Random(seed)
    if times is not None:
        return _cut(sorted(range(n_rows), key=lambda i: times[i]), shares)
    if groups is not None:
        return _by_group(groups, shares, chance)
    by_stratum: defaultdict[str, list[int]] = defaultdict(list)
    for i in range(n_rows):
        by_stratum["" if strata is None else strata[i]].append(i)
    found: dict[str, list[int]] = {part: [] for part in shares}
    for name in sorted(by_stratum):
        rows = by_stratum[name]
        chance.shuffle(rows)
        for part, own in _cut(rows, shares, chance).items():
            found[part] += own
    return {part: sorted(rows) for part, rows in found.items()}


def _cut(rows: Sequence[int], shares: Mapping[str, float], chance: random.Random | None = None) -> dict[str, list[int]]:
    """One part after the other. What does not divide evenly goes where most is lacking; with ``chance``, where a draw
    by what is lacking says, so that many small classes fill all parts by their shares."""
    exact = {part: share * len(rows) for part, share in shares.items()}
    sizes = {part: int(size) for part, size in exact.items()}
    left = {part: exact[part] - sizes[part] for part in shares}
    for _ in range(len(rows) - sum(sizes.values())):
        names = list(left)
        weights = [max(1e-9, left[name]) for name in names]
        part = chance.choices(names, weights)[0] if chance is not None else max(names, key=lambda n: left[n])
        sizes[part] += 1
        left[part] -= 1
    found, at = {}, 0
    for part, size in sizes.items():
        found[part] = list(rows[at : at + size])
        at += size
    return found


def _by_group(groups: Sequence[str], shares: Mapping[str, float], chance: random.Random) -> dict[str, list[int]]:
    members: defaultdict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    names = sorted(members)
    chance.shuffle(names)
    found: dict[str, list[int]] = {part: [] for part in shares}
    for name in sorted(names, key=lambda n: -len(members[n])):
        # Where most is lacking.
        part = max(shares, key=lambda p: shares[p] * len(groups) - len(found[p]))
        found[part] += members[name]
    return {part: sorted(rows) for part, rows in found.items()}

"""How good each useful subset of an ensemble's members is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class SubsetScores:
    """The scores of subsets, as measured on kept validation predictions. A subset is a bit mask: bit ``m`` is member
    ``m``, the best member is 0."""

    def __init__(self, n_members: int, scores: Mapping[int, float]) -> None:
        """
        Args:
            n_members: 1 or more.
            scores: subset -> its score, more is better: of each single member at least. What is not there is never
            asked.
        """
        self.n_members = n_members
        self.everyone = (1 << n_members) - 1
        self._scores = {mask: score for mask, score in scores.items() if 0 < mask <= self.everyone}
        singles = {1 << m for m in range(n_members)}
        if lacking := singles - self._scores.keys():
            raise ValueError(f"There is no score of members {sorted(mask.bit_length() - 1 for mask in lacking)}.")
        self.floor = max(self._scores[mask] for mask in singles)
        """The score of the best single member."""
        # More members first: of equal scores the one that also helps those who ask for what is not measured.
        self._ranked = sorted(self._scores, key=lambda mask: (-self._scores[mask], -mask.bit_count(), mask))
        self._best: dict[int, int] = {}

    @classmethod
    def unknown(cls, n_members: int) -> SubsetScores:
        """Where nothing was measured: more members are better, and each alone is as good as the best."""
        everyone = (1 << n_members) - 1
        ranked = range(1, everyone + 1) if n_members <= _MOST_ENUMERATED else _prefixes(n_members)
        return cls(n_members, {mask: float(mask.bit_count() - 1) for mask in ranked})

    def score(self, mask: int) -> float:
        """The score of a subset that was measured."""
        return self._scores[mask]

    def best_within(self, available: int) -> int:
        """The best subset of the members in ``available`` that is no worse than the best single member; 0 = there is
        none."""
        found = self._best.get(available)
        if found is None:
            found = next((mask for mask in self._ranked if mask & available == mask), 0)
            if found and self._scores[found] < self.floor:
                found = 0
            self._best[available] = found
        return found


_MOST_ENUMERATED = 8
"""Members up to which all subsets are looked at: 255."""


def _prefixes(n_members: int) -> Iterator[int]:
    """Each member alone, and the best so many."""
    for m in range(n_members):
        yield 1 << m
        yield (2 << m) - 1


def useful_subsets(n_members: int) -> list[int]:
    """The subsets whose scores are worth measuring: all of up to 8 members; of more, each alone and the best so
    many."""
    if n_members <= _MOST_ENUMERATED:
        return list(range(1, 1 << n_members))
    return sorted(set(_prefixes(n_members)))

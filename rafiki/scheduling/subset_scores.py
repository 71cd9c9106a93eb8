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
        # More members first: of equal scores the one that also helps those who ask for what is not measured.
        self._ranked = sorted(self._scores, key=lambda mask: (-self._scores[mask], -mask.bit_count(), mask))
        self._best: dict[tuple[int, int], int] = {}

    @classmethod
    def unknown(cls, n_members: int) -> SubsetScores:
        """Where nothing was measured: more members are better, and none is as good as those before it."""
        masks = useful_subsets(n_members)
        return cls(n_members, {mask: mask.bit_count() - (n_members + 1.0) * _first(mask) for mask in masks})

    def score(self, mask: int) -> float:
        """The score of a subset that was measured."""
        return self._scores[mask]

    def floor(self, present: int) -> float:
        """The score of the best single member of ``present``."""
        return max(self._scores[1 << m] for m in range(self.n_members) if present >> m & 1)

    def best_within(self, available: int, present: int | None = None) -> int:
        """All that are ``present`` where all of them are ``available``: they are the ensemble that was asked for. Else
        the best subset of the available ones that is no worse than the best single one of ``present``.

        Args:
            present: those that would answer if they had time; None = all.

        Returns:
            0 when there is none.
        """
        present = self.everyone if present is None else present
        if available & present == present:
            return present
        found = self._best.get((available, present))
        if found is None:
            within = available & present
            found = next((mask for mask in self._ranked if mask & within == mask), 0)
            if found and self._scores[found] < self.floor(present):
                found = 0
            if len(self._best) >= _MOST_KNOWN:
                self._best.clear()
            self._best[available, present] = found
        return found


def _first(mask: int) -> int:
    """The place of its first member, from 1."""
    return (mask & -mask).bit_length()


_MOST_KNOWN = 4096
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

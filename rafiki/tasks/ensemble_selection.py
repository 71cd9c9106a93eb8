"""Which members an ensemble has, and how much each counts: chosen greedily on validation predictions.

Caruana, Niculescu-Mizil, Crew, Ksikes 2004, "Ensemble selection from libraries of models" (ICML): forward selection
(section 2) with replacement (2.1) and sorted initialisation (2.2).
"""

from __future__ import annotations

from typing import NamedTuple

from rafiki.tasks.model_library import Floats, ModelLibrary, Score

_MOST_PICKS = 50
_PATIENCE = 10
_MOST_NUMBERS = 20_000_000


class Selection(NamedTuple):
    """The members of an ensemble."""

    weights: dict[int, float]
    """How often each member was picked, by its number in the library."""
    score: Score
    """Of the ensemble."""
    best_single: int
    best_single_score: Score


class _Search:
    """Paths through one library; the best point of all of them counts."""

    def __init__(self, library: ModelLibrary, order: list[int], max_members: int) -> None:
        self._library = library
        self._order = order
        self._max_members = max_members
        self.best_score = library.score_of({order[0]: 1.0})
        self.best_counts = {order[0]: 1.0}

    def _try(self, total: Floats, counts: dict[int, float], model: int) -> tuple[Score, int, Floats]:
        more = self._library.added(total, model, 1.0, is_new=model not in counts)
        return self._library.score(more, sum(counts.values()) + 1.0), -self._order.index(model), more

    def _note(self, score: Score, counts: dict[int, float]) -> bool:
        if score <= self.best_score:
            return False
        self.best_score, self.best_counts = score, dict(counts)
        return True

    def size_of_best_start(self) -> int:
        """How many of the best single models make the best ensemble together."""
        total, counts = self._library.empty(), dict[int, float]()
        scores: list[Score] = []
        for model in self._order[: self._max_members]:
            score, _, total = self._try(total, counts, model)
            counts[model] = 1.0
            scores.append(score)
            self._note(score, counts)
        return 1 + scores.index(max(scores))

    def walk(self, n_first: int) -> None:
        """From the ``n_first`` best single models on, whichever model helps the most, again and again."""
        total, counts = self._library.empty(), dict[int, float]()
        for model in self._order[:n_first]:
            total = self._library.added(total, model, 1.0)
            counts[model] = 1.0
        n_idle = 0
        while sum(counts.values()) < _MOST_PICKS and n_idle < _PATIENCE:
            is_full = len(counts) >= self._max_members
            models = [m for m in self._order if not is_full or m in counts]
            # Of equal ones the better single model.
            score, place, total = max((self._try(total, counts, m) for m in models), key=lambda t: t[:2])
            model = self._order[-place]
            counts[model] = counts.get(model, 0.0) + 1.0
            n_idle = 0 if self._note(score, counts) else n_idle + 1


def select_greedily(library: ModelLibrary, max_members: int) -> Selection:
    """Members and weights of the ensemble with the best score on the validation examples.

    The best N single models come in first, N being what scores best; then, again and again, whichever model helps the
    most, with replacement, until ``_PATIENCE`` picks in a row have brought nothing. Because the number of members is
    limited, which the paper's is not, the same is done from the best single model alone: the first N may take the
    places of better partners. The best point of both paths counts, so the score is never below that of the best single
    model.

    Args:
        library: the trials to choose from.
        max_members: distinct members at most, 1 or more.
    """
    singles = [library.score_of({model: 1.0}) for model in range(library.n_models)]
    # Equal scores in the order of the library: the best trial first.
    order = sorted(range(library.n_models), key=lambda model: (*(-s for s in singles[model]), model))
    search = _Search(library, order[: max(2, _MOST_NUMBERS // max(1, library.cost))], max_members)
    n_first = search.size_of_best_start()
    for start in sorted({n_first, 1}):
        search.walk(start)
    return Selection(search.best_counts, search.best_score, order[0], singles[order[0]])

"""When ENAS does what: the phases of its search as shares of the budget, and each worker's turn within them."""

from __future__ import annotations

from enum import StrEnum

from rafiki.advisor.base import SearchSetup
from rafiki.advisor.enas_scheme import EnasOptions

_WARM_SHARE = 0.25
_MOST_WARM = 30
_LEAST_TRAININGS = 30
_MOST_FULL = 2


class Phase(StrEnum):
    """What a trial is for."""

    TRAIN = "train"
    """One epoch of the shared weights."""
    SEARCH = "search"
    """An evaluation with the shared weights, for the controller to learn from."""
    FINAL = "final"
    """An evaluation with the shared weights, to choose what is trained in full."""
    FULL = "full"
    """A full training of its own."""


class Line:
    """The shared weights of one worker, which go on from one of its trainings to the next."""

    def __init__(self) -> None:
        self.n_trainings = 0
        self.n_trained = 0
        """Trainings that have succeeded."""
        self._n_searches = 0
        self._is_due = True

    def begin(self, phase: str) -> None:
        """A trial was proposed."""
        if phase == Phase.TRAIN:
            self.n_trainings += 1
            self._n_searches = 0
            self._is_due = False
        elif phase == Phase.SEARCH:
            self._n_searches += 1

    def finish_training(self, is_completed: bool) -> None:
        """A training has ended. After one that failed there may be no weights to evaluate with, so the next is due."""
        self.n_trained += is_completed
        self._is_due = self._is_due or not is_completed

    def is_training_due(self, n_searches: int) -> bool:
        """Whether the shared weights are trained next, with so many evaluations after each training."""
        return self._is_due or self._n_searches >= n_searches


class Schedule:
    """The phases of one search.

    1. At first, trainings only (a quarter of the budget, at most 30 on each worker): before that, scores are noise.
    2. Trainings and evaluations in alternation, each worker on its own. With a limit of trials, the evaluations after
       each training are as few as it takes to train 30 times at least, or one.
    3. The closing: final evaluations, then full trainings. It begins when the time left is ``final_share``, or with the
       last ``final_share`` of the trials, or with as few of them as it needs: a count of trials says nothing of how
       long a full training takes.
    """

    def __init__(self, setup: SearchSetup, options: EnasOptions) -> None:
        self._limit = setup.trial_limit
        self._closing_from_used = 1 - options.final_share
        self._half_closed_at_used = 1 - options.final_share / 2
        self._n_finals = options.n_finals
        self.n_searches = options.searches_per_training
        self._first_closing = self._first_full = None
        if self._limit is not None:
            n_workers = max(1, setup.n_workers)
            n_most = options.n_finals + max(n_workers, _MOST_FULL)
            n_closing = max(1, min(round(options.final_share * self._limit), n_most))
            # One for each worker if there is room, for the last ones run side by side.
            n_full = max(1, n_closing // 6, min(n_workers, n_closing // 2))
            self._first_closing = self._limit - n_closing + 1
            self._first_full = self._limit - n_full + 1
            n_open = self._limit - n_closing
            self.n_searches = max(1, min(self.n_searches, n_open // (_LEAST_TRAININGS * n_workers)))

    def is_closing(self, no: int, budget_used: float) -> bool:
        """Whether trial ``no`` belongs to the closing, with this share of the budget used."""
        if self._first_closing is None or self._limit is None:
            return budget_used >= self._closing_from_used
        # More used than trials account for: it is the time that comes to its end.
        is_time = budget_used > no / self._limit
        return no >= self._first_closing or (is_time and budget_used >= self._closing_from_used)

    def is_full_due(self, no: int, budget_used: float, n_finals: int, is_one_ready: bool) -> bool:
        """Within the closing: whether to train in full, rather than to evaluate one more architecture.

        Evaluations take no more than half of the time that is left when the closing begins.

        Args:
            no, budget_used: as of :meth:`is_closing`.
            n_finals: final evaluations so far, pending ones included.
            is_one_ready: whether there is one whose architecture was not trained in full yet.
        """
        if self._first_full is not None and no >= self._first_full:
            return True
        is_time = self._limit is None or budget_used > no / self._limit
        is_late = is_time and budget_used >= self._half_closed_at_used
        return is_one_ready and (n_finals >= self._n_finals or is_late)

    def phase_of_line(self, line: Line, no: int, budget_used: float) -> Phase:
        """Before the closing: what the worker of this line does next."""
        used = budget_used if self._limit is None else max(budget_used, (no - 1) / self._limit)
        is_warming = used < _WARM_SHARE and line.n_trainings < _MOST_WARM
        return Phase.TRAIN if is_warming or line.is_training_due(self.n_searches) else Phase.SEARCH

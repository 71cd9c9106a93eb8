"""Which trials of a search keep their parameters: the best ones; the others are freed while it goes on."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import islice

from rafiki.entities import Trial
from rafiki.meta_store import MetaStore

_BATCH = 500
"""So many at most in one transaction: whoever else writes waits for it."""


class KeptParams:
    """Of one search.

    What is freed is neither the best nor deployed, no ensemble would choose it, and no later trial starts from it.

    Args:
        store: where trials are.
        owner_id: the advisor of the search.
        keep: so many keep theirs; None = all.
        remove: removes parameters from their store, by their ids; it never fails.
    """

    def __init__(
        self, store: MetaStore, owner_id: str, keep: int | None, remove: Callable[[Sequence[str]], None]
    ) -> None:
        self._store = store
        self._owner_id = owner_id
        self._keep = keep
        self._remove = remove
        self._worst_first: list[tuple[float, int, str, str]] = []
        """A heap: score, number counted from the latest, trial and parameters."""
        self._behind: dict[str, str] = {}
        """Of trials that have fallen behind: they are better never again."""

    def add(self, trial: Trial) -> None:
        """A trial has finished."""
        if trial.params_id is None or trial.score is None:
            return
        heapq.heappush(self._worst_first, (trial.score, -trial.no, trial.id, trial.params_id))
        if self._keep is not None and len(self._worst_first) > self._keep:
            _, _, trial_id, params_id = heapq.heappop(self._worst_first)
            self._behind[trial_id] = params_id

    def free(self) -> list[str]:
        """Free what has fallen behind, in batches; the ids of the trials."""
        freed: list[str] = []
        while self._behind:
            batch = dict(islice(self._behind.items(), _BATCH))
            # The record first: a file without a record is found again, a record without its file would be served.
            done = self._store.trials.free_params_of(batch, owner_id=self._owner_id)
            for trial_id in batch:
                del self._behind[trial_id]
            self._remove([batch[trial_id] for trial_id in done])
            freed += done
        return freed

"""The process that chooses the members of an ensemble, or scores a given one: a request on stdin, the answer on stdout.

Started by :mod:`rafiki.admin.ensembles`. It loads numpy and the trials' predictions, and both go with it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rafiki.store_location import StoreLocation
from rafiki.stores import open_param_store
from rafiki.tasks.registry import get_task
from rafiki.tasks.validation import CombiningTask
from rafiki.utils.request_process import answer_request

if TYPE_CHECKING:
    from rafiki.tasks.model_library import ModelLibrary
    from rafiki.tasks.validation import Packed

NO_PREDICTIONS = "The best trial has no validation predictions."
_MOST_BYTES = 256 << 20


class SelectRequest(msgspec.Struct, frozen=True, kw_only=True):
    task: str
    params: StoreLocation
    params_ids: list[str]
    """Of the trials to choose from, the best trial first."""
    max_members: int = 0
    """Choose so many at most; 0 = score ``given``."""
    given: list[int]
    """Members of equal weights, by their place in ``params_ids``: at least one. They stand when none can be chosen."""


class SelectAnswer(msgspec.Struct, frozen=True, kw_only=True):
    weights: dict[int, float]
    """Of each member, by its place in ``params_ids``; they sum up to 1."""
    score: float | None = None
    best_single_score: float | None = None
    single_scores: dict[int, float] = {}
    """Of each trial with predictions, alone."""
    subset_scores: dict[int, float] = {}
    """Of subsets of the members, as bit masks: bit ``m`` is the member that comes ``m``-th by its place. Shrunk by what
    of them is chance (:func:`rafiki.tasks.subset_scores.subset_scores`)."""
    n_examples: int = 0
    note: str | None = None
    """Why the best trial is served alone, or nothing was scored."""


def answer(request: SelectRequest) -> SelectAnswer:
    """The members chosen, or the score of those that were given."""
    task = get_task(request.task)
    if not isinstance(task, CombiningTask):
        raise TypeError(f"predictions of {request.task} cannot be joined")
    places, library, note = _read_library(task, request)
    if library is None:
        return unscored(request, note)
    single_scores = {place: library.score_of({i: 1.0}).score for i, place in enumerate(places)}
    if request.max_members:
        from rafiki.tasks.ensemble_selection import select_greedily

        chosen = select_greedily(library, request.max_members)
        counts, score = chosen.weights, chosen.score.score
    else:
        if not set(request.given) <= set(places):
            lacking = len(set(request.given) - set(places))
            return unscored(request, f"{lacking} of its members have no validation predictions that can be compared.")
        counts = {places.index(place): 1.0 for place in request.given}
        score = library.score_of(counts).score
    total = sum(counts.values())
    return SelectAnswer(
        weights={places[i]: counts[i] / total for i in sorted(counts)}, score=score,
        best_single_score=max(single_scores.values()), single_scores=single_scores,
        subset_scores=_subset_scores(library, counts), n_examples=library.n_examples,
    )  # fmt: skip


def _subset_scores(library: ModelLibrary, counts: Mapping[int, float]) -> dict[int, float]:
    if len(counts) < 2:
        return {}
    from rafiki.tasks.subset_scores import subset_scores

    return subset_scores(library, counts)


def unscored(request: SelectRequest, note: str) -> SelectAnswer:
    """The given members with equal weights."""
    return SelectAnswer(weights={place: 1 / len(request.given) for place in request.given}, note=note)


def _read_library(task: CombiningTask, request: SelectRequest) -> tuple[list[int], ModelLibrary | None, str]:
    """The trials that can be compared with the best one: their places, and their predictions."""
    params = open_param_store(request.params)
    places: list[int] = []
    packed: list[Packed] = []
    left = _MOST_BYTES
    for place, params_id in enumerate(request.params_ids):
        found = params.find_validation(params_id, left)
        if found is None or not _fits(task, packed[:1], found):
            if place == 0:
                return [], None, NO_PREDICTIONS
            continue
        left -= sum(getattr(array, "nbytes", 0) for array in found.values())
        places.append(place)
        packed.append(found)
    library = task.library(packed)
    misfits = library.find_misfits()
    if 0 in misfits:
        return [], None, "The best trial orders its classes in a way of its own, so its predictions cannot be joined."
    if misfits:
        fitting = [i for i in range(len(places)) if i not in misfits]
        places = [places[i] for i in fitting]
        library = task.library([packed[i] for i in fitting])
    return places, library, ""


def _fits(task: CombiningTask, first: Sequence[Packed], found: Packed) -> bool:
    """Whether predictions were made for the examples of the first ones, and have their shape. Model code could have
    written anything there."""
    try:
        task.library([*first, found])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(answer_request(SelectRequest, answer))

"""Parameters of trials that nobody needs are freed while the search goes on."""

from __future__ import annotations

import random
from typing import Any

import pytest
from search.test_search import Case, done, order_of
from support.stores.meta_store_records import Given

from rafiki.advisor.schemes import make_advisor
from rafiki.budget import parse_train_budget
from rafiki.messages import Hello, TrainOrder
from rafiki.meta_store import MetaStore
from rafiki.model.knobs import FloatKnob, PolicyKnob
from rafiki.search.search import Search

KNOBS: dict[str, Any] = {"x": FloatKnob(0.0, 1.0)}
SHARING: dict[str, Any] = {**KNOBS, "share": PolicyKnob("SHARE_PARAMS")}


@pytest.fixture
def case(store: MetaStore, given: Given) -> Case:
    return Case(store, given.sub_train_job("adv"))


class Searched:
    """A search with a limit, and what it has removed."""

    def __init__(self, case: Case, keep: int | None, *, scheme: Any = "random", knobs: Any = KNOBS) -> None:
        self.case = case
        self.removed: list[str] = []
        self.is_looking = True
        """Whether it frees after each trial."""
        budget = parse_train_budget({"MODEL_TRIAL_COUNT": 200})
        self._make = lambda: Search(
            store=case.store, sub_train_job=case.sub, owner_id="adv", max_attempts=2, model_trial_count=200,
            make_advisor=lambda: make_advisor(knobs, budget, 1, scheme), keep_params=keep,
            remove_params=self.removed.extend,
        )  # fmt: skip
        self.search = self._make()
        self.order: TrainOrder | None = None

    def restart(self) -> None:
        self.search, self.order = self._make(), None

    def finish(self, score: float) -> None:
        order = self.order or order_of(self.search, Hello("w"))
        self.order = order_of(self.search, done("w", order, score, f"p{order.no}"))
        if self.is_looking:
            self.search.free_params_meanwhile()

    def kept(self) -> set[str]:
        return {t.params_id for t in self.case.trials() if t.params_id is not None}


def test_the_best_keep_their_parameters_whatever_the_order(case: Case) -> None:
    searched = Searched(case, 5)
    scores = [i / 100 for i in range(40)]
    random.Random(3).shuffle(scores)
    for score in scores:
        searched.finish(score)
    best = sorted(range(40), key=lambda i: -scores[i])[:5]
    assert searched.kept() == {f"p{i + 1}" for i in best}
    assert len(searched.removed) == 35
    assert all(t.score is not None for t in case.trials() if t.params_id is None and t.datetime_stopped)


def test_of_equal_scores_the_earlier_ones_stay(case: Case) -> None:
    searched = Searched(case, 2)
    for _ in range(5):
        searched.finish(0.5)
    assert searched.kept() == {"p1", "p2"}


def test_an_advisor_that_was_started_anew_goes_on_with_it(case: Case) -> None:
    searched = Searched(case, 3)
    for score in (0.1, 0.9, 0.2, 0.8):
        searched.finish(score)
    searched.restart()
    for score in (0.7, 0.3):
        searched.finish(score)
    assert searched.kept() == {"p2", "p4", "p5"}


def test_without_a_limit_all_stay(case: Case) -> None:
    searched = Searched(case, None)
    for i in range(30):
        searched.finish(i / 30)
    assert len(searched.kept()) == 30
    assert searched.removed == []


def test_what_is_deployed_meanwhile_stays(case: Case, given: Given) -> None:
    searched = Searched(case, 1)
    searched.finish(0.5)
    (first, *_) = case.trials()
    given.inference_job(case.store.train_jobs.get_train_job(first.train_job_id), [first.id])
    for score in (0.6, 0.7):
        searched.finish(score)
    assert searched.kept() == {"p1", "p3"}
    assert searched.removed == ["p2"]


def test_many_are_freed_in_one_transaction_and_none_before(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = Searched(case, 2)
    searched.is_looking = False
    for i in range(20):
        searched.finish(i / 20)
    assert len(searched.kept()) == 20
    calls: list[int] = []
    free = case.store.trials.free_params_of
    monkeypatch.setattr(
        case.store.trials, "free_params_of",
        lambda ids, **arguments: calls.append(len(ids)) or free(ids, **arguments),
    )  # fmt: skip
    searched.search.free_params_meanwhile()
    assert calls == [18]
    assert searched.kept() == {"p19", "p20"}
    assert sorted(searched.removed) == sorted(f"p{i}" for i in range(1, 19))
    searched.search.free_params_meanwhile()
    assert calls == [18]


def test_what_had_fallen_behind_before_a_restart_is_freed_after_it(case: Case) -> None:
    searched = Searched(case, 2)
    searched.is_looking = False
    for i in range(6):
        searched.finish(i / 6)
    searched.restart()
    searched.search.free_params_meanwhile()
    assert searched.kept() == {"p5", "p6"}
    assert sorted(searched.removed) == ["p1", "p2", "p3", "p4"]


def test_a_scheme_that_goes_on_from_trials_keeps_all_until_its_end(case: Case) -> None:
    searched = Searched(case, 2, scheme="pbt", knobs=SHARING)
    for i in range(30):
        searched.finish(i / 30)
    assert len(searched.kept()) == 30
    searched.search.free_params()
    assert searched.kept() == {"p29", "p30"}

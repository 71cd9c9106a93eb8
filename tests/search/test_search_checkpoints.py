"""What a search does with checkpoints: the newest of a running attempt is kept, and the next attempt is given it."""

from __future__ import annotations

from typing import Any

import pytest
from search.test_search import Case, done, failed, order_of
from support.stores.meta_store_records import Given

from rafiki.advisor.asha_rule import AshaRule
from rafiki.entities import TrialCheckpoint
from rafiki.messages import CheckpointSaved, EndTrialOrder, Hello, TrainOrder, TrialScored, WorkerLost
from rafiki.meta_store import MetaStore
from rafiki.search.search import Search


@pytest.fixture
def case(store: MetaStore, given: Given) -> Case:
    return Case(store, given.sub_train_job("adv"))


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of checkpoints that searches have removed."""
    found: list[str] = []
    before = Search.__init__

    def init(self: Search, **arguments: Any) -> None:
        before(self, **arguments, remove_params=found.extend)

    monkeypatch.setattr(Search, "__init__", init)
    return found


def saved(worker_id: str, order: TrainOrder, step: int, params_id: str | None = None) -> CheckpointSaved:
    return CheckpointSaved(worker_id, order.trial_id, order.attempt, step, params_id or f"kept-{order.attempt}-{step}")


def kept(step: int, attempt: int = 1) -> TrialCheckpoint:
    return TrialCheckpoint(params_id=f"kept-{attempt}-{step}", step=step, attempt=attempt)


def test_the_next_attempt_is_told_the_newest_checkpoint(case: Case, removed: list[str]) -> None:
    search = case.search()
    order = order_of(search, Hello("w1"))
    assert order.checkpoint is None
    for step in (3, 7):
        assert search.handle(saved("w1", order, step)) == []
    search.handle(WorkerLost("w1", "killed"))
    assert removed == ["kept-1-3"]
    # A restarted advisor tells it too.
    again = order_of(case.search(), Hello("w2"))
    assert (again.trial_id, again.attempt, again.checkpoint) == (order.trial_id, 2, kept(7))


@pytest.mark.parametrize("result", [done, failed])
def test_a_checkpoint_goes_when_its_trial_ends(case: Case, removed: list[str], result: Any) -> None:
    search = case.search()
    order = order_of(search, Hello("w"))
    search.handle(saved("w", order, 3))
    search.handle(result("w", order))
    assert removed == ["kept-1-3"]
    assert case.trials()[0].checkpoint is None
    # One that was on its way goes too.
    search.handle(saved("w", order, 4))
    assert removed == ["kept-1-3", "kept-1-4"]


def test_a_checkpoint_goes_when_its_trial_is_given_up_or_the_search_ends(case: Case, removed: list[str]) -> None:
    search = case.search(max_attempts=1)
    search.handle(saved("w1", order_of(search, Hello("w1")), 3, "given-up"))
    search.handle(WorkerLost("w1", "killed"))
    search.handle(saved("w2", order_of(search, Hello("w2")), 3, "ended"))
    search.end("time is over")
    assert removed == ["given-up", "ended"]


def test_checkpoints_of_an_attempt_that_is_over_are_ignored(case: Case, removed: list[str]) -> None:
    search = case.search()
    first = order_of(search, Hello("w1"))
    search.handle(saved("w1", first, 3))
    search.handle(WorkerLost("w1", "no heartbeat"))
    search.handle(saved("w1", first, 9))
    second = order_of(search, Hello("w2"))
    search.handle(saved("w1", first, 11))
    assert removed == ["kept-1-9", "kept-1-11"]
    # It began anew, so its steps may be lower: what the present attempt saves is what counts.
    search.handle(saved("w2", second, 2))
    assert case.trials()[0].checkpoint == kept(2, attempt=2)
    assert removed == ["kept-1-9", "kept-1-11", "kept-1-3"]


def test_announcements_that_come_again_leave_the_newest_in_place(case: Case, removed: list[str]) -> None:
    search = case.search()
    order = order_of(search, Hello("w"))
    events = [saved("w", order, step) for step in (3, 7)]
    for event in events:
        search.handle(event)
    again = case.search()
    for event in events:
        again.handle(event)
    assert case.trials()[0].checkpoint == kept(7)
    assert set(removed) == {"kept-1-3"}


def test_nothing_that_a_trial_refers_to_is_removed_whatever_is_announced(case: Case, removed: list[str]) -> None:
    search = case.search()
    order = order_of(search, Hello("w"))
    search.handle(done("w", order, params_id="result"))
    search.handle(saved("w", order, 5, "result"))
    search.handle(CheckpointSaved("w", "unknown", 1, 5, "result"))
    assert removed == []
    assert case.trials()[0].params_id == "result"


def test_scores_up_to_the_checkpoint_are_those_of_the_next_attempt_too(case: Case, removed: list[str]) -> None:
    search = case.search()
    order = order_of(search, Hello("w1"))
    for step in (1, 2, 3, 4):
        search.handle(TrialScored("w1", order.trial_id, 1, step, step / 10))
    search.handle(saved("w1", order, 3))
    search.handle(WorkerLost("w1", "killed"))
    second = order_of(search, Hello("w2"))
    search.handle(TrialScored("w2", second.trial_id, 2, 4, 0.5))
    reports = case.store.trials.list_reports_of_trial(order.trial_id)
    assert [(r.attempt, r.step, r.score) for r in reports] == [(2, 1, 0.1), (2, 2, 0.2), (2, 3, 0.3), (2, 4, 0.5)]


def test_a_trial_that_goes_on_is_ended_early_as_it_would_have_been(case: Case, removed: list[str]) -> None:
    search = case.search(n_trials=4, rule=lambda: AshaRule(eta=2.0))
    good = order_of(search, Hello("good"))
    search.handle(TrialScored("good", good.trial_id, 1, 1, 0.9))
    poor = order_of(search, Hello("poor"))
    assert search.handle(TrialScored("poor", poor.trial_id, 1, 1, 0.1)) != []
    search.handle(saved("poor", poor, 1))
    search.handle(WorkerLost("poor", "killed"))
    second = order_of(search, Hello("other"))
    ((worker_id, order),) = search.handle(TrialScored("other", second.trial_id, 2, 2, 0.1))
    assert worker_id == "other"
    assert isinstance(order, EndTrialOrder)

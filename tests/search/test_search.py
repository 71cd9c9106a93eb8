"""The search over one model, event by event, with a real meta store and a real advisor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.stores.meta_store_records import Given, log_lines

from rafiki.advisor.asha_rule import AshaRule
from rafiki.advisor.schemes import make_advisor
from rafiki.advisor.stopping import NoRule
from rafiki.budget import parse_train_budget
from rafiki.constants import TrainJobStatus, TrialStatus
from rafiki.entities import SubTrainJob, Trial, TrialLog
from rafiki.errors import StaleOwnerError
from rafiki.messages import (
    EndOrder,
    EndTrialOrder,
    Hello,
    RetireWorker,
    StopRequested,
    TrainEvent,
    TrainOrder,
    TrialDone,
    TrialFailed,
    TrialProgress,
    TrialScored,
    WorkerLost,
)
from rafiki.meta_store import MetaStore
from rafiki.model.knobs import FixedKnob, FloatKnob
from rafiki.search.search import STOPPED_BY_OWNER, TIME_IS_OVER, Search

FREE = {"x": FloatKnob(0.0, 1.0)}
FIXED = {"x": FixedKnob(3)}


class Case:
    """One sub train job and the search that owns it."""

    def __init__(self, store: MetaStore, sub: SubTrainJob) -> None:
        self.store, self.sub = store, sub

    def search(
        self, n_trials: int = 3, *, max_attempts: int = 2, knobs: Any = FREE, owner_id: str = "adv", rule: Any = NoRule
    ) -> Search:
        budget = parse_train_budget({"MODEL_TRIAL_COUNT": n_trials})
        scheme: Any = "random" if knobs is FREE else "auto"
        return Search(
            store=self.store, sub_train_job=self.sub, owner_id=owner_id, max_attempts=max_attempts,
            make_advisor=lambda: make_advisor(knobs, budget, 1, scheme), model_trial_count=n_trials, make_rule=rule,
        )  # fmt: skip

    def trials(self) -> list[Trial]:
        return self.store.trials.list_trials_of_sub_train_job(self.sub.id)

    def states(self) -> list[tuple[str, str | None, int]]:
        return [(str(t.status), t.worker_id, t.attempt) for t in self.trials()]


@pytest.fixture
def case(store: MetaStore, given: Given) -> Case:
    return Case(store, given.sub_train_job("adv"))


def test_a_worker_that_comes_back_from_a_host_that_was_cut_off_gets_no_order_and_fails_no_trial(case: Case) -> None:
    search = case.search(n_trials=2)
    order = order_of(search, Hello("w1"))
    search.handle(WorkerLost("w1", "its host is lost", has_ended=True))
    # Its token is void by now: it could not save what it trained.
    assert search.handle(failed("w1", order, "You are not allowed to do this.")) == [("w1", EndOrder())]
    assert search.handle(Hello("w1")) == [("w1", EndOrder())]
    assert case.states() == [("PENDING", None, 1)]
    again = order_of(search, Hello("w2"))
    assert (again.trial_id, again.attempt) == (order.trial_id, 2)
    assert search.handle(failed("w1", again)) == [("w1", EndOrder())]
    assert search.handle(TrialScored("w1", order.trial_id, 2, 1.0, 0.5)) == []
    assert case.states() == [("RUNNING", "w2", 2)]
    # What it had saved before it was cut off is a result like any other.
    assert search.handle(done("w1", order)) == [("w1", EndOrder())]
    assert [t.status for t in case.trials()] == [TrialStatus.COMPLETED]
    assert order_of(search, done("w2", again)).no == 2


def order_of(search: Search, event: TrainEvent) -> TrainOrder:
    """The only order that an event leads to."""
    ((_, order),) = search.handle(event)
    assert isinstance(order, TrainOrder)
    return order


def done(worker_id: str, order: TrainOrder, score: float = 0.5, params_id: str = "p") -> TrialDone:
    return TrialDone(worker_id, order.trial_id, order.attempt, score, params_id, [])


def failed(worker_id: str, order: TrainOrder, reason: str = "it broke") -> TrialFailed:
    return TrialFailed(worker_id, order.trial_id, order.attempt, reason, [])


# ---- each event, and each event again


def test_a_hello_is_answered_with_a_trial_and_a_second_one_with_the_same(case: Case) -> None:
    search = case.search()
    order = order_of(search, Hello("w"))
    assert (order.no, order.attempt) == (1, 1)
    assert order_of(search, Hello("w")) == order
    assert case.states() == [("RUNNING", "w", 1)]
    assert case.trials()[0].proposal.knobs == order.knobs


@pytest.mark.parametrize("result", [done, failed])
def test_a_result_that_comes_again_changes_nothing(case: Case, result: Callable[..., TrainEvent]) -> None:
    search = case.search()
    event = result("w", order_of(search, Hello("w")))
    second = order_of(search, event)
    before = case.trials()
    assert second.no == 2
    assert order_of(search, event) == second
    # To a restarted advisor too.
    assert order_of(case.search(), event) == second
    assert case.trials() == before


def test_log_lines_that_come_again_are_kept_once(case: Case) -> None:
    search = case.search()
    order = order_of(search, Hello("w"))
    trial = case.trials()[0]
    lines = log_lines(trial, 3, first=1)
    for _ in range(2):
        assert search.handle(TrialProgress("w", lines[:2])) == []
    for _ in range(2):
        search.handle(TrialDone("w", order.trial_id, 1, 0.5, "p", lines[1:]))
    # A batch that was overtaken by the result.
    search.handle(TrialProgress("w", lines))
    assert case.store.trials.list_trial_logs(trial.id) == lines


def test_a_loss_that_is_told_twice_costs_one_attempt(case: Case) -> None:
    search = case.search()
    order_of(search, Hello("w1"))
    assert search.handle(WorkerLost("w1", "killed")) == []
    assert search.handle(WorkerLost("w1", "no heartbeat")) == []
    assert case.states() == [("PENDING", None, 1)]
    again = order_of(search, Hello("w2"))
    assert search.handle(WorkerLost("w1", "killed")) == []
    assert case.search().handle(WorkerLost("w1", "killed")) == []
    assert case.states() == [("RUNNING", "w2", 2)]
    assert again.attempt == 2


def test_results_of_trials_that_nobody_knows_are_ignored(case: Case) -> None:
    search = case.search()
    lost = TrainOrder("unknown", 9, 1, {})
    assert order_of(search, done("w1", lost)).no == 1
    assert order_of(search, failed("w2", lost)).no == 2
    assert search.handle(WorkerLost("unknown", "killed")) == []
    assert search.handle(TrialProgress("w1", log_lines(case.trials()[0], 0))) == []


# ---- workers that are lost, or seem to be


def test_a_lost_trial_is_tried_again_with_the_same_knobs_up_to_the_limit(case: Case) -> None:
    search = case.search(n_trials=1, max_attempts=3)
    orders = []
    for i in range(3):
        orders.append(order_of(search, Hello(f"w{i}")))
        search.handle(WorkerLost(f"w{i}", f"killed for the {i}. time"))
    assert [o.attempt for o in orders] == [1, 2, 3]
    assert len({(o.trial_id, str(o.knobs)) for o in orders}) == 1
    (trial,) = case.trials()
    assert trial.status is TrialStatus.ERRORED
    assert trial.error == "Its worker was lost 3 times; the last time: killed for the 2. time."
    assert search.is_over
    assert search.outcome()[0] is TrainJobStatus.ERRORED


def test_an_idle_worker_takes_a_lost_trial_over_at_once(case: Case) -> None:
    search = case.search(n_trials=1)
    first = order_of(search, Hello("w1"))
    assert search.handle(Hello("idle")) == []
    assert not search.is_over
    ((worker_id, order),) = search.handle(WorkerLost("w1", "killed"))
    assert worker_id == "idle"
    assert order == TrainOrder(first.trial_id, 1, 2, first.knobs)
    # It is not idle any more.
    assert search.handle(Hello("other")) == []
    assert search.handle(WorkerLost("other", "killed")) == []
    assert case.states() == [("RUNNING", "idle", 2)]


def test_a_waiting_trial_comes_before_a_new_one(case: Case) -> None:
    search = case.search()
    order_of(search, Hello("w1"))
    search.handle(WorkerLost("w1", "killed"))
    assert (order_of(search, Hello("w2")).no, order_of(search, Hello("w3")).no) == (1, 2)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_worker_that_only_seemed_lost_may_still_finish_its_trial(case: Case, is_restarted: bool) -> None:
    search = case.search(n_trials=2)
    order = order_of(search, Hello("w1"))
    search.handle(WorkerLost("w1", "no heartbeat"))
    if is_restarted:
        search = case.search(n_trials=2)
    assert order_of(search, done("w1", order, 0.75)).no == 2
    (trial, _) = case.trials()
    assert (trial.status, trial.score, trial.worker_id, trial.attempt) == ("COMPLETED", 0.75, "w1", 1)


def test_the_first_result_of_two_attempts_counts(case: Case) -> None:
    search = case.search(n_trials=3)
    stale = order_of(search, Hello("w1"))
    search.handle(WorkerLost("w1", "no heartbeat"))
    second = order_of(search, Hello("w2"))
    assert order_of(search, done("w1", stale, 0.25, "first")).no == 2
    assert order_of(search, done("w2", second, 0.75, "second")).no == 3
    trial = case.trials()[0]
    assert (trial.score, trial.params_id, trial.worker_id, trial.attempt) == (0.25, "first", "w1", 1)


def test_the_failure_of_a_stale_attempt_does_not_end_the_present_one(case: Case) -> None:
    search = case.search(n_trials=2)
    stale = order_of(search, Hello("w1"))
    search.handle(WorkerLost("w1", "no heartbeat"))
    second = order_of(search, Hello("w2"))
    assert order_of(search, failed("w1", stale)).no == 2
    search.handle(done("w2", second, 0.75))
    trial = case.trials()[0]
    assert (trial.status, trial.score, trial.attempt) == ("COMPLETED", 0.75, 2)


def test_a_failure_counts_when_nobody_else_has_begun_the_trial(case: Case) -> None:
    search = case.search(n_trials=1)
    order = order_of(search, Hello("w1"))
    search.handle(WorkerLost("w1", "no heartbeat"))
    assert search.handle(failed("w1", order)) == []
    assert case.trials()[0].error == "it broke"
    assert search.is_over


# ---- restarts


def test_a_restarted_search_goes_on_where_the_meta_store_stands(case: Case) -> None:
    search = case.search(n_trials=5)
    search.handle(done("w1", order_of(search, Hello("w1"))))
    running = order_of(search, Hello("w2"))
    lost = order_of(search, Hello("w3"))
    search.handle(WorkerLost("w3", "killed"))
    restarted = case.search(n_trials=5)
    assert set(restarted.busy_workers) == restarted.workers == {"w1", "w2"}
    assert order_of(restarted, Hello("w2")) == running
    assert order_of(restarted, Hello("new")) == TrainOrder(lost.trial_id, lost.no, 2, lost.knobs)
    assert order_of(restarted, Hello("other")).no == 5
    assert [t.no for t in case.trials()] == [1, 2, 3, 4, 5]


def test_knobs_do_not_depend_on_restarts(store: MetaStore, given: Given) -> None:
    def knobs(restarts: bool) -> list[Any]:
        case = Case(store, given.sub_train_job("adv"))
        search = case.search(5)
        for _ in range(5):
            search.handle(done("w", order_of(search, Hello("w"))))
            search = case.search(5) if restarts else search
        return [t.proposal.knobs for t in case.trials()]

    assert knobs(True) == knobs(False)


def test_a_search_that_was_replaced_cannot_write(case: Case) -> None:
    search = case.search()
    order = order_of(search, Hello("w1"))
    case.store.train_jobs.set_advisor(case.sub.id, "another")
    for event in (Hello("w2"), done("w1", order), failed("w1", order), WorkerLost("w1", "killed")):
        with pytest.raises(StaleOwnerError):
            search.handle(event)
    assert case.states() == [("RUNNING", "w1", 1)]


# ---- the end


def finish_all(
    search: Search, results: list[bool], events: tuple[Callable[..., TrainEvent], ...] = (failed, done)
) -> None:
    orders: list[Any] = search.handle(Hello("w"))
    for is_good in results:
        ((_, order),) = orders
        orders = search.handle(events[is_good]("w", order))
    assert orders == []


@pytest.mark.parametrize(
    ("results", "status", "error"),
    [
        ([True, True], TrainJobStatus.STOPPED, None),
        ([False, True, False], TrainJobStatus.STOPPED, None),
        ([False], TrainJobStatus.ERRORED, "The only trial failed: it broke"),
        ([False, False], TrainJobStatus.ERRORED, "All 2 trials failed. The last one: it broke"),
    ],
)
def test_a_search_ends_with_its_budget_and_is_errored_when_nothing_worked(
    case: Case, results: list[bool], status: TrainJobStatus, error: str | None
) -> None:
    search = case.search(len(results))
    assert not search.is_over
    finish_all(search, results)
    assert search.is_over
    assert search.outcome() == case.search(len(results)).outcome() == (status, error)
    assert search.handle(Hello("late")) == []
    assert len(case.trials()) == len(results)
    assert search.workers == {"w", "late"}


@pytest.mark.parametrize("budget", [5, -1])
def test_a_model_without_a_choice_has_one_trial(case: Case, budget: int) -> None:
    search = case.search(budget, knobs=FIXED)
    finish_all(search, [True])
    assert search.is_over
    assert [t.proposal.knobs for t in case.trials()] == [{"x": 3}]


@pytest.mark.parametrize("reason", [STOPPED_BY_OWNER, TIME_IS_OVER])
def test_a_search_that_is_cut_short_closes_what_runs_and_keeps_what_is_done(case: Case, reason: str) -> None:
    search = case.search(5)
    search.handle(done("w1", order_of(search, Hello("w1"))))
    lost = order_of(search, Hello("w2"))
    search.handle(WorkerLost("w2", "killed"))
    if reason == STOPPED_BY_OWNER:
        assert search.handle(StopRequested()) == search.handle(StopRequested()) == []
    else:
        search.ending = reason
    assert search.is_over
    # Nothing new begins, not even after the meta store was away; what comes in still counts.
    search.restore()
    assert search.handle(Hello("w3")) == []
    assert search.handle(done("w2", lost, 0.75)) == []
    for _ in range(2):
        search.end(reason)
    assert sorted(str(t.status) for t in case.trials()) == ["COMPLETED", "COMPLETED", "ERRORED"]
    assert [t.error for t in case.trials() if t.status is TrialStatus.ERRORED] == [reason]
    assert search.outcome() == (TrainJobStatus.STOPPED, None)


def test_a_search_that_was_stopped_before_its_first_trial_is_no_failure(case: Case) -> None:
    search = case.search()
    search.handle(StopRequested())
    assert search.is_over
    assert search.outcome() == (TrainJobStatus.STOPPED, None)


# ---- models that never work, workers that go together


def test_a_search_without_a_limit_ends_when_no_trial_ever_succeeds(case: Case) -> None:
    search = case.search(-1)
    event: TrainEvent = Hello("w")
    n_orders = 0
    while orders := search.handle(event):
        ((_, order),) = orders
        assert isinstance(order, TrainOrder)
        n_orders += 1
        event = failed("w", order)
    assert search.is_over
    assert n_orders == 10
    assert search.outcome() == (TrainJobStatus.ERRORED, "All 10 trials failed. The last one: it broke")


def test_one_success_keeps_a_search_without_a_limit_going(case: Case) -> None:
    search = case.search(-1)
    order = order_of(search, done("w", order_of(search, Hello("w"))))
    for _ in range(15):
        order = order_of(search, failed("w", order))
    assert not search.is_over


def test_a_trial_is_not_given_to_an_idle_worker_that_is_gone_too(case: Case) -> None:
    search = case.search(1)
    order_of(search, Hello("busy"))
    assert search.handle(Hello("idle")) == []
    search.forget_idle(["busy", "idle"])
    assert search.handle(WorkerLost("busy", "killed")) == []
    assert search.handle(WorkerLost("idle", "killed")) == []
    assert case.states() == [("PENDING", None, 1)]


# ---- intermediate scores


def scored(worker_id: str, order: TrainOrder, step: float, score: float) -> TrialScored:
    return TrialScored(worker_id, order.trial_id, order.attempt, step, score)


def halving() -> AshaRule:
    return AshaRule(eta=2)


def test_a_hopeless_trial_is_told_to_end_again_and_again_until_it_does(case: Case) -> None:
    search = case.search(rule=halving)
    good, bad = (order_of(search, Hello(w)) for w in ("w1", "w2"))
    assert search.handle(scored("w1", good, 1, 0.9)) == []
    [(worker_id, order)] = search.handle(scored("w2", bad, 1, 0.1))
    assert worker_id == "w2"
    assert isinstance(order, EndTrialOrder)
    assert (order.trial_id, order.attempt) == (bad.trial_id, 1)
    assert "asha" in order.reason
    # The order may be lost with the cache, and the advisor die: a restarted one knows that it gave the trial up.
    restarted = case.search(rule=halving)
    for each in (search, restarted):
        assert each.handle(scored("w2", bad, 2, 0.95)) == [("w2", order)]
    assert restarted.handle(scored("w1", good, 2, 0.9)) == []
    restarted.handle(TrialDone("w2", bad.trial_id, 1, 0.2, "p", [], order.reason))
    ended = next(t for t in case.trials() if t.id == bad.trial_id)
    assert (ended.status, ended.score, ended.ended_early) == (TrialStatus.COMPLETED, 0.2, order.reason)
    assert restarted.handle(scored("w2", bad, 3, 0.1)) == []


def test_reports_are_kept_once_and_those_of_an_earlier_attempt_count_no_more(case: Case) -> None:
    search = case.search(rule=halving)
    first = order_of(search, Hello("w"))
    for _ in range(2):
        search.handle(scored("w", first, 1, 0.4))
    search.handle(scored("w", first, 2, float("nan")))
    search.handle(scored("w", first, float("inf"), 0.4))
    reports = case.store.trials.list_reports_of_trial(first.trial_id)
    assert [(r.step, r.score) for r in reports] == [(1, 0.4)]
    search.handle(WorkerLost("w", "killed"))
    again = order_of(search, Hello("other"))
    assert (again.trial_id, again.attempt) == (first.trial_id, 2)
    assert case.store.trials.list_trial_reports(case.sub.id) == []
    assert search.handle(scored("w", first, 3, 0.0)) == []
    search.handle(scored("other", again, 1, 0.6))
    assert [r.attempt for r in case.store.trials.list_trial_reports(case.sub.id)] == [2]


def test_a_report_of_a_trial_that_nobody_knows_does_no_harm(case: Case) -> None:
    search = case.search(rule=halving)
    order = order_of(search, Hello("w"))
    search.handle(done("w", order))
    for stranger in (TrialScored("w", "nobody", 1, 1, 0.5), scored("w", order, 1, 0.5)):
        assert search.handle(stranger) == []
    assert case.store.trials.list_trial_reports(case.sub.id) == []


# ---- workers that are to be replaced


def test_a_worker_that_is_to_retire_ends_after_its_trial_and_another_does_the_rest(case: Case) -> None:
    search = case.search(2)
    order = order_of(search, Hello("old"))
    assert search.handle(RetireWorker("old")) == []
    assert order_of(search, Hello("old")) == order
    assert search.handle(done("old", order)) == [("old", EndOrder())]
    assert order_of(search, Hello("new")).no == 2
    assert case.states() == [("COMPLETED", "old", 1), ("RUNNING", "new", 1)]


def test_an_idle_worker_that_is_to_retire_ends_at_once_and_gets_no_trial_that_comes_back(case: Case) -> None:
    search = case.search(1)
    order_of(search, Hello("new"))
    assert search.handle(Hello("old")) == []
    assert search.handle(RetireWorker("old")) == [("old", EndOrder())]
    assert search.handle(WorkerLost("new", "it was killed")) == []


def test_who_is_to_retire_is_remembered_over_a_failure_of_the_meta_store(case: Case) -> None:
    search = case.search(2)
    order = order_of(search, Hello("old"))
    search.handle(RetireWorker("old"))
    search.restore()
    assert search.handle(done("old", order)) == [("old", EndOrder())]


# ---- what model code may write itself


def test_a_score_that_is_no_number_fails_its_trial_and_not_the_search(case: Case) -> None:
    search = case.search(n_trials=2)
    order = order_of(search, Hello("w"))
    again = order_of(search, done("w", order, score=float("nan")))
    assert [t.status for t in case.trials()] == [TrialStatus.ERRORED, TrialStatus.RUNNING]
    assert "nan" in str(case.trials()[0].error)
    assert order_of(search, Hello("w")) == again


def test_log_lines_of_another_trial_are_left_out(case: Case, store: MetaStore) -> None:
    search = case.search(n_trials=2)
    first, second = order_of(search, Hello("a")), order_of(search, Hello("b"))
    lines = [
        TrialLog(trial_id=trial_id, attempt=1, line_no=no, entry={"message": f"{no}"})
        for no, trial_id in enumerate([first.trial_id, second.trial_id, "of somebody else"], 1)
    ]
    assert search.handle(TrialProgress("a", lines)) == []
    assert [line.entry["message"] for line in store.trials.list_trial_logs(first.trial_id)] == ["1"]
    assert list(store.trials.list_trial_logs(second.trial_id)) == []

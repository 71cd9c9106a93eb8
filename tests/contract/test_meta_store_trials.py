import msgspec
import pytest
from support.stores.meta_store_records import log_lines

from rafiki.constants import ServiceStatus, ServiceType, TrainJobStatus, TrialStatus
from rafiki.entities import TrialCheckpoint, TrialReport
from rafiki.errors import (
    IllegalTransitionError,
    InvalidTrainJobError,
    InvalidTrialError,
    StaleOwnerError,
)
from rafiki.proposals import Proposal

PENDING, RUNNING, ERRORED, COMPLETED = TrialStatus

WRITES = {
    "create": lambda trials, sub, trial, owner: trials.create_trial(
        sub_train_job=sub, no=2, worker_id="w", proposal=Proposal(knobs={}), owner_id=owner
    ),
    "assign": lambda trials, sub, trial, owner: trials.assign_trial(trial.id, worker_id="v", owner_id=owner),
    "release": lambda trials, sub, trial, owner: trials.release_trial(trial.id, owner_id=owner),
    "complete": lambda trials, sub, trial, owner: trials.complete_trial(
        trial.id, score=1.0, params_id="p", owner_id=owner
    ),
    "fail": lambda trials, sub, trial, owner: trials.fail_trial(trial.id, error="x", owner_id=owner),
    "checkpoint": lambda trials, sub, trial, owner: trials.set_checkpoint(trial.id, checkpoint(), owner_id=owner),
    "log": lambda trials, sub, trial, owner: trials.add_trial_logs(trial.id, log_lines(trial, 1), owner_id=owner),
}


def checkpoint(step: int = 3, attempt: int = 1) -> TrialCheckpoint:
    return TrialCheckpoint(params_id=f"kept-{attempt}-{step}", step=step, attempt=attempt)


def test_a_running_trial_has_its_latest_checkpoint_until_it_ends(store, given):
    sub = given.sub_train_job("a")
    done, failed, lost = (given.trial(sub, no) for no in (1, 2, 3))
    for trial in (done, failed, lost):
        assert store.trials.set_checkpoint(trial.id, checkpoint(3), owner_id="a").checkpoint == checkpoint(3)
        assert store.trials.set_checkpoint(trial.id, checkpoint(7), owner_id="a").checkpoint == checkpoint(7)
        assert store.trials.get_trial(trial.id).checkpoint == checkpoint(7)
    assert store.trials.list_checkpoint_ids() == ["kept-1-7"] * 3
    assert store.trials.complete_trial(done.id, score=1.0, params_id="p", owner_id="a").checkpoint is None
    assert store.trials.fail_trial(failed.id, error="x", owner_id="a").checkpoint is None
    # A trial that waits for another worker keeps it.
    assert store.trials.release_trial(lost.id, owner_id="a").checkpoint == checkpoint(7)
    assert store.trials.assign_trial(lost.id, worker_id="v", owner_id="a").checkpoint == checkpoint(7)
    assert store.trials.list_checkpoint_ids() == ["kept-1-7"]


def test_parameters_are_those_of_one_search_as_a_result_or_a_checkpoint(store, given):
    sub, other = given.sub_train_job("adv"), given.sub_train_job("adv")
    given.completed_trial(sub, 1, 0.5, "result")
    running = given.trial(sub, no=2)
    store.trials.set_checkpoint(running.id, TrialCheckpoint(params_id="kept", step=1, attempt=1), owner_id="adv")
    found = {
        (s.id == sub.id, params_id, counts): store.trials.has_params(s.id, params_id, counts_checkpoints=counts)
        for s in (sub, other)
        for params_id in ("result", "kept", "nobody's")
        for counts in (True, False)
    }
    assert {key for key, has in found.items() if has} == {
        (True, "result", True), (True, "result", False), (True, "kept", True),
    }  # fmt: skip


def test_a_checkpoint_of_an_attempt_that_is_not_the_present_one_is_not_kept(store, given):
    trial = given.trial(given.sub_train_job("a"))
    assert store.trials.set_checkpoint(trial.id, checkpoint(attempt=2), owner_id="a") is None
    store.trials.release_trial(trial.id, owner_id="a")
    assert store.trials.set_checkpoint(trial.id, checkpoint(), owner_id="a") is None
    store.trials.assign_trial(trial.id, worker_id="v", owner_id="a")
    assert store.trials.set_checkpoint(trial.id, checkpoint(), owner_id="a") is None
    assert store.trials.get_trial(trial.id).checkpoint is None
    with pytest.raises(InvalidTrialError):
        store.trials.set_checkpoint("unknown", checkpoint(), owner_id="a")


def test_a_trial_comes_back_as_it_was_created(store, given):
    sub = given.sub_train_job("advisor")
    trial = given.trial(
        sub,
        7,
        proposal=Proposal(
            knobs={"lr": 0.1, "layers": 2, "on": True, "kind": "ü"}, scheme="pbt", scheme_state={"line": 2}
        ),
    )
    assert store.trials.get_trial(trial.id) == trial
    assert trial.proposal.knobs == {"lr": 0.1, "layers": 2, "on": True, "kind": "ü"}
    assert (trial.proposal.scheme, trial.proposal.scheme_state) == ("pbt", {"line": 2})
    assert (trial.no, trial.status, trial.attempt, trial.worker_id) == (7, RUNNING, 1, "w")
    assert (trial.train_job_id, trial.model_name) == (sub.train_job_id, sub.model_name)
    assert (trial.score, trial.error, trial.params_id, trial.datetime_stopped) == (None,) * 4


def test_new_trials_are_those_above_a_number_and_the_live_ones_by_number(store, given):
    sub, other = given.sub_train_job("a"), given.sub_train_job("a")
    known = [given.trial(sub, no) for no in (1, 2, 3)]
    given.trial(other, 9)
    found = store.trials.list_new_trials(sub.id, after_no=0, live_ids=[])
    assert found == known
    assert store.trials.list_new_trials(sub.id, after_no=3, live_ids=[]) == []
    done = store.trials.complete_trial(known[1].id, score=1.0, params_id="p", owner_id="a")
    fresh = given.trial(sub, 4)
    assert store.trials.list_new_trials(sub.id, after_no=3, live_ids=[known[1].id, known[2].id]) == [
        done, known[2], fresh,
    ]  # fmt: skip
    # A trial of another model is none of this one, whoever names it.
    foreign = store.trials.list_new_trials(other.id, after_no=0, live_ids=[])[0]
    assert store.trials.list_new_trials(sub.id, after_no=4, live_ids=[foreign.id]) == []


def test_a_trial_number_is_given_once(store, given):
    sub = given.sub_train_job("advisor")
    trial = given.trial(sub, 1)
    with pytest.raises(InvalidTrialError, match="trial 1 already"):
        given.trial(sub, 1)
    assert store.trials.list_trials_of_sub_train_job(sub.id) == [trial]


def test_a_lost_trial_is_released_and_given_to_another_worker(store, given):
    trial = given.trial(given.sub_train_job("advisor"))
    released = store.trials.release_trial(trial.id, owner_id="advisor")
    assert (released.status, released.worker_id, released.attempt) == (PENDING, None, 1)
    assigned = store.trials.assign_trial(trial.id, worker_id="v", owner_id="advisor")
    assert (assigned.status, assigned.worker_id, assigned.attempt) == (RUNNING, "v", 2)
    assert store.trials.get_trial(trial.id) == assigned


def test_a_completed_trial_keeps_its_result(store, given):
    trial = given.trial(given.sub_train_job("advisor"))
    done = store.trials.complete_trial(trial.id, score=0.1 + 0.2, params_id="p1", owner_id="advisor")
    assert (done.status, done.score, done.params_id, done.is_params_saved) == (COMPLETED, 0.1 + 0.2, "p1", True)
    assert (done.worker_id, done.attempt) == ("w", 1)
    assert done.datetime_stopped >= done.datetime_started
    assert store.trials.get_trial(trial.id) == done


def test_a_result_may_come_from_an_earlier_attempt(store, given):
    trial = given.trial(given.sub_train_job("advisor"))
    store.trials.release_trial(trial.id, owner_id="advisor")
    store.trials.assign_trial(trial.id, worker_id="v", owner_id="advisor")
    done = store.trials.complete_trial(trial.id, score=1, params_id=None, owner_id="advisor", worker_id="w", attempt=1)
    assert (done.worker_id, done.attempt, done.score, done.is_params_saved) == ("w", 1, 1.0, False)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_refused(store, given, score):
    trial = given.trial(given.sub_train_job("advisor"))
    with pytest.raises(InvalidTrialError, match=str(score)):
        store.trials.complete_trial(trial.id, score=score, params_id="p", owner_id="advisor")
    assert store.trials.get_trial(trial.id) == trial


@pytest.mark.parametrize("released", [False, True])
def test_a_failed_trial_keeps_its_reason(store, given, released):
    trial = given.trial(given.sub_train_job("advisor"))
    if released:
        store.trials.release_trial(trial.id, owner_id="advisor")
    failed = store.trials.fail_trial(trial.id, error="killed \0 \udc80", owner_id="advisor")
    assert (failed.status, failed.error) == (ERRORED, "killed \ufffd ?")
    assert failed.datetime_stopped is not None
    assert store.trials.get_trial(trial.id) == failed


@pytest.mark.parametrize(
    ("before", "write"),
    [
        ("none", "assign"),
        ("release", "release"),
        ("release", "complete"),
        *((final, write) for final in ("complete", "fail") for write in ("assign", "release", "complete", "fail")),
    ],
)
def test_a_trial_status_changes_only_as_the_table_allows(store, given, before, write):
    sub = given.sub_train_job("advisor")
    trial = given.trial(sub)
    if before != "none":
        trial = WRITES[before](store.trials, sub, trial, "advisor")
    with pytest.raises(IllegalTransitionError, match=trial.status.value):
        WRITES[write](store.trials, sub, trial, "advisor")
    assert store.trials.get_trial(trial.id) == trial


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(("owner", "writer"), [("b", "a"), (None, "a"), ("b", None)])
def test_nobody_but_the_owner_writes_trials(store, given, write, owner, writer):
    sub = given.sub_train_job(owner)
    trial = given.trial(sub)
    if write == "assign":
        trial = store.trials.release_trial(trial.id, owner_id=owner)
    with pytest.raises(StaleOwnerError, match=sub.id):
        WRITES[write](store.trials, sub, trial, writer)
    assert store.trials.list_trials_of_sub_train_job(sub.id) == [trial]
    assert store.trials.list_trial_logs(trial.id) == []
    assert WRITES[write](store.trials, sub, trial, owner) is not False


@pytest.mark.parametrize("write", [write for write in WRITES if write != "create"])
def test_an_unknown_trial_is_refused(store, given, write):
    sub = given.sub_train_job("advisor")
    unknown = msgspec.structs.replace(given.trial(sub), id="nothing")
    with pytest.raises(InvalidTrialError, match="nothing"):
        WRITES[write](store.trials, sub, unknown, "advisor")
    with pytest.raises(InvalidTrialError, match="nothing"):
        store.trials.get_trial("nothing")


def test_a_trial_of_an_unknown_sub_train_job_is_refused(given):
    sub = msgspec.structs.replace(given.sub_train_job(), id="nothing")
    with pytest.raises(InvalidTrainJobError, match="nothing"):
        given.trial(sub)


def test_trials_of_all_models_are_listed_in_the_order_they_started(store, given):
    user = given.user()
    job = given.train_job(user, models=[given.model(user), given.model(user)])
    one, two = store.train_jobs.list_sub_train_jobs(job.id)
    a, b, c, d = given.trial(one, 2), given.trial(two, 1), given.trial(one, 1), given.trial(two, 2)
    given.trial(given.sub_train_job())
    assert store.trials.list_trials(job.id) == [a, b, c, d]
    assert store.trials.list_trials(job.id, offset=1, limit=2) == [b, c]
    assert store.trials.list_trials_of_sub_train_job(one.id) == [c, a]
    assert store.trials.list_trials_of_sub_train_job(one.id, offset=1) == [a]
    failed = store.trials.fail_trial(c.id, error="x", owner_id=None)
    assert store.trials.list_trials(job.id, status=ERRORED) == [failed]
    assert store.trials.list_trials("nothing") == []


def test_the_best_trials_have_the_highest_scores_and_parameters(store, given):
    user = given.user()
    job = given.train_job(user, models=[given.model(user), given.model(user)])
    one, two = store.train_jobs.list_sub_train_jobs(job.id)
    low = given.completed_trial(one, 1, -1.5)
    first = given.completed_trial(two, 1, 0.75)
    second_of_same_score = given.completed_trial(one, 2, 0.75)
    given.completed_trial(one, 3, 0.99, params_id=None)
    given.trial(one, 4)
    ranked = [first, second_of_same_score, low]
    assert store.trials.list_best_trials(job.id) == ranked[:2]
    assert store.trials.list_best_trials(job.id, max_count=1) == ranked[:1]
    assert store.trials.list_best_trials(job.id, max_count=None) == ranked
    assert store.trials.list_best_trials(job.id, max_count=5, offset=1) == ranked[1:]
    assert store.trials.list_best_trials_of_sub_train_job(one.id) == [second_of_same_score]
    assert store.trials.list_best_trials_of_sub_train_job(two.id, max_count=9) == [first]


def test_trials_are_counted_by_status(store, given):
    sub = given.sub_train_job()
    assert store.trials.count_trials(sub.id) == dict.fromkeys(TrialStatus, 0)
    given.completed_trial(sub, 1, 0.5)
    given.completed_trial(sub, 2, 0.5)
    given.trial(sub, 3)
    assert store.trials.count_trials(sub.id) == {PENDING: 0, RUNNING: 1, ERRORED: 0, COMPLETED: 2}


def test_log_lines_that_are_delivered_again_are_kept_once(store, given):
    trial = given.trial(given.sub_train_job("advisor"))
    lines = log_lines(trial, 5)
    store.trials.add_trial_logs(trial.id, lines[2:4], owner_id="advisor")
    changed = [msgspec.structs.replace(line, entry={"line": "changed"}) for line in lines[2:4]]
    store.trials.add_trial_logs(trial.id, [lines[4], *changed, *lines[:2]], owner_id="advisor")
    store.trials.add_trial_logs(trial.id, [], owner_id="advisor")
    assert store.trials.list_trial_logs(trial.id) == lines
    assert store.trials.list_trial_logs(trial.id, offset=1, limit=2) == lines[1:3]


def test_the_logs_of_a_trial_are_those_of_its_present_attempt(store, given):
    trial = given.trial(given.sub_train_job("advisor"))
    first = log_lines(trial, 2)
    store.trials.add_trial_logs(trial.id, first, owner_id="advisor")
    store.trials.release_trial(trial.id, owner_id="advisor")
    store.trials.assign_trial(trial.id, worker_id="v", owner_id="advisor")
    assert store.trials.list_trial_logs(trial.id) == []
    second = log_lines(trial, 3, attempt=2)
    store.trials.add_trial_logs(trial.id, second, owner_id="advisor")
    assert store.trials.list_trial_logs(trial.id) == second
    assert store.trials.list_trial_logs(trial.id, attempt=1) == first
    assert store.trials.list_trial_logs("nothing") == []


def test_log_lines_of_another_trial_are_refused(store, given):
    sub = given.sub_train_job("advisor")
    trial, other = given.trial(sub, 1), given.trial(sub, 2)
    with pytest.raises(InvalidTrialError, match=other.id):
        store.trials.add_trial_logs(trial.id, [*log_lines(trial, 1), *log_lines(other, 1)], owner_id="advisor")
    assert store.trials.list_trial_logs(trial.id) == []


def test_reports_of_the_present_attempt_are_listed_by_trial_and_step(store, given):
    sub = given.sub_train_job("adv")
    one, two = (given.trial(sub, no) for no in (1, 2))

    def report(trial, step, score, attempt=1):
        return TrialReport(trial_id=trial.id, attempt=attempt, step=step, score=score)

    for r in (report(two, 1, 0.5), report(one, 2, 0.25), report(one, 1, -3.5), report(one, 2, 9.0)):
        store.trials.add_trial_report(r, owner_id="adv")
    assert store.trials.list_trial_reports(sub.id) == [report(one, 1, -3.5), report(one, 2, 0.25), report(two, 1, 0.5)]
    assert store.trials.list_reports_of_trial(two.id) == [report(two, 1, 0.5)]
    store.trials.release_trial(one.id, owner_id="adv")
    store.trials.assign_trial(one.id, worker_id="w2", owner_id="adv")
    store.trials.add_trial_report(report(one, 1, 0.75, attempt=2), owner_id="adv")
    assert store.trials.list_reports_of_trial(one.id) == [report(one, 1, 0.75, attempt=2)]


def test_a_report_is_refused_from_strangers_and_without_a_number(store, given):
    sub = given.sub_train_job("adv")
    trial = given.trial(sub)
    good = TrialReport(trial_id=trial.id, attempt=1, step=1, score=0.5)
    with pytest.raises(StaleOwnerError):
        store.trials.add_trial_report(good, owner_id="other")
    for wrong in ({"score": float("nan")}, {"step": float("inf")}, {"trial_id": "nobody"}):
        with pytest.raises(InvalidTrialError):
            store.trials.add_trial_report(msgspec.structs.replace(good, **wrong), owner_id="adv")
    assert store.trials.list_trial_reports(sub.id) == []


def test_a_trial_that_ended_early_keeps_why(store, given):
    sub = given.sub_train_job("adv")
    trial = given.trial(sub)
    done = store.trials.complete_trial(trial.id, score=0.5, params_id="p", owner_id="adv", ended_early="asha: too low")
    assert (done.status, done.ended_early) == (TrialStatus.COMPLETED, "asha: too low")
    assert store.trials.get_trial(trial.id) == done


def test_records_are_counted_by_their_statuses_and_every_status_is_a_key(store, given):
    sub = given.sub_train_job("adv")
    given.completed_trial(sub, 1, 0.5, "p1")
    given.completed_trial(sub, 2, 0.6, "p2")
    given.trial(sub, 3)
    service = store.services.create_service(
        service_id="s1", service_type=ServiceType.TRAIN, job_id="j", unit_id="u", slot=0, attempt=1
    )
    ended = store.services.create_service(
        service_id="s2", service_type=ServiceType.TRAIN, job_id="j", unit_id="u", slot=1, attempt=1
    )
    store.services.set_service_status(ended.id, ServiceStatus.ERRORED, "it ended")
    counts = store.count_statuses()
    assert counts.trials == {PENDING: 0, RUNNING: 1, ERRORED: 0, COMPLETED: 2}
    assert set(counts.train_jobs) == set(TrainJobStatus)
    assert (sum(counts.train_jobs.values()), sum(counts.inference_jobs.values())) == (1, 0)
    assert counts.live_services[service.service_type, service.status] == 1
    assert sum(counts.live_services.values()) == 1
    assert not {ServiceStatus.ERRORED, ServiceStatus.STOPPED} & {status for _, status in counts.live_services}

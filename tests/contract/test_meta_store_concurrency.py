"""Several threads and processes on one database."""

import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from multiprocessing import get_context

import pytest
import sqlalchemy
from support.stores.meta_store_records import log_lines
from support.stores.meta_store_writers import create_versions, run_trials

from rafiki.constants import InferenceJobStatus, TrialStatus
from rafiki.errors import (
    InvalidModelError,
    InvalidTrainJobError,
    InvalidTrialError,
    ModelUsedError,
    RafikiError,
    RunningInferenceJobExistsError,
    StaleOwnerError,
    UserAlreadyBannedError,
    UserExistsError,
)
from rafiki.meta_store import open_meta_store
from rafiki.proposals import Proposal

THREADS = 8


def at_once(*calls):
    """Run the calls in threads that start together; what each returned or was refused with."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait()
        try:
            return call()
        except RafikiError as e:
            return e

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def assert_one_won(outcomes, refusal):
    lost = [outcome for outcome in outcomes if isinstance(outcome, RafikiError)]
    assert [type(error) for error in lost] == [refusal] * (len(outcomes) - 1)


def test_of_many_train_jobs_of_an_app_at_once_one_is_created(store, given):
    user = given.user()
    models = [given.model(user)]
    outcomes = at_once(*[lambda: given.train_job(user, "app", models)] * THREADS)
    assert_one_won(outcomes, InvalidTrainJobError)
    assert [job.app_version for job in store.train_jobs.list_train_jobs(user.id)] == [1]


def test_of_many_inference_jobs_of_a_train_job_at_once_one_is_created(store, given):
    train_job = given.train_job()
    outcomes = at_once(*[lambda: given.inference_job(train_job)] * THREADS)
    assert_one_won(outcomes, RunningInferenceJobExistsError)
    assert [job.status for job in store.inference_jobs.list_inference_jobs(train_job.user_id)] == [
        InferenceJobStatus.STARTED
    ]


def test_of_many_users_of_one_email_at_once_one_is_created_and_banned_once(store, given):
    outcomes = at_once(*[lambda: given.user("ada@rafiki")] * THREADS)
    assert_one_won(outcomes, UserExistsError)
    user = store.users.find_user_by_email("ada@rafiki")
    assert_one_won(at_once(*[lambda: store.users.ban_user(user.id)] * THREADS), UserAlreadyBannedError)


def test_of_many_trials_of_one_number_at_once_one_is_created(store, given):
    sub = given.sub_train_job("advisor")
    assert_one_won(at_once(*[lambda: given.trial(sub, 1)] * THREADS), InvalidTrialError)
    assert store.trials.count_trials(sub.id)[TrialStatus.RUNNING] == 1


def test_log_lines_that_arrive_twice_at_once_are_kept_once(store, given):
    trial = given.trial(given.sub_train_job("advisor"))
    lines = log_lines(trial, 50)
    add = store.trials.add_trial_logs
    calls = [lambda i=i: add(trial.id, lines[i:] + lines[:i], owner_id="advisor") for i in range(0, 40, 10)]
    assert at_once(*calls) == [None] * 4
    assert store.trials.list_trial_logs(trial.id) == lines


def test_a_model_is_either_deleted_or_used(store, given):
    user = given.user()
    for round_no in range(6):
        model = given.model(user)
        job, deletion = at_once(
            lambda model=model, app=f"app{round_no}": given.train_job(user, app, [model]),
            lambda model=model: store.models.delete_model(model.id),
        )
        if isinstance(job, InvalidModelError):
            assert deletion is None
        else:
            assert isinstance(deletion, ModelUsedError)
            assert store.models.get_model(model.id) == model


def test_versions_have_no_gaps_whoever_creates_them(meta_store_url, given):
    user = given.user()
    models = [given.model(user)]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(create_versions, meta_store_url, user, models, 5) for _ in range(3)]
        versions = [version for job in jobs for version in job.result()]
    assert sorted(versions) == list(range(1, 16))


def test_several_advisors_and_the_admin_write_at_once(meta_store_url, store, given):
    subs = [given.sub_train_job(f"advisor{i}") for i in range(3)]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        advisors = [pool.submit(run_trials, meta_store_url, sub.id, sub.advisor_id, 40) for sub in subs]
        services = at_once(*[lambda: [given.service().id for _ in range(20)]] * 4)
        for advisor in advisors:
            advisor.result()
    assert len({service_id for ids in services for service_id in ids}) == 80
    for sub in subs:
        trials = store.trials.list_trials_of_sub_train_job(sub.id)
        assert [(t.no, t.status, t.score) for t in trials] == [
            (no, TrialStatus.COMPLETED, no / 7) for no in range(1, 41)
        ]
        assert all(store.trials.list_trial_logs(t.id) == log_lines(t, 3) for t in trials)


def test_an_owner_that_was_replaced_writes_not_one_more_trial(meta_store_url, store, given):
    sub = given.sub_train_job("old")
    began = threading.Event()

    def write():
        with open_meta_store(meta_store_url) as other:
            for no in range(1, 10_000):
                try:
                    other.trials.create_trial(
                        sub_train_job=sub, no=no, worker_id="w", proposal=Proposal(knobs={}), owner_id="old"
                    )
                except StaleOwnerError:
                    return no - 1
                if no == 20:
                    began.set()
        raise AssertionError("never refused")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert began.wait(30)
        store.train_jobs.set_advisor(sub.id, "new")
        count = store.trials.count_trials(sub.id)[TrialStatus.RUNNING]
        assert writing.result() == count
    assert store.trials.count_trials(sub.id)[TrialStatus.RUNNING] == count


@pytest.mark.parametrize("write", ["create", "complete", "log", "status"])
def test_a_write_waits_for_a_change_of_owner_and_is_then_refused(meta_store_url, store, given, write):
    sub = given.sub_train_job("old")
    trial = given.trial(sub, 1)
    writes = {
        "create": lambda: given.trial(sub, 2, owner_id="old"),
        "complete": lambda: store.trials.complete_trial(trial.id, score=1, params_id="p", owner_id="old"),
        "log": lambda: store.trials.add_trial_logs(trial.id, log_lines(trial, 1), owner_id="old"),
        "status": lambda: store.train_jobs.set_sub_train_job_status(sub.id, "RUNNING", owner_id="old"),
    }
    engine = sqlalchemy.create_engine(meta_store_url.replace("postgresql:", "postgresql+psycopg2:"))
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            change = "UPDATE sub_train_jobs SET advisor_id = 'new' WHERE id = :id"
            connection.execute(sqlalchemy.text(change), {"id": sub.id})
            writing = pool.submit(writes[write])
            with pytest.raises(NotYet):
                writing.result(timeout=0.3)
        with pytest.raises(StaleOwnerError, match="new"):
            writing.result(timeout=30)
    engine.dispose()
    assert store.trials.list_trials(sub.train_job_id) == [trial]
    assert store.trials.list_trial_logs(trial.id) == []

import msgspec
import pytest

from rafiki.budget import TrainBudget
from rafiki.constants import TrainJobStatus
from rafiki.errors import (
    IllegalTransitionError,
    InvalidDatasetError,
    InvalidModelError,
    InvalidTrainJobError,
    InvalidUserError,
    StaleOwnerError,
)
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final

STARTED, RUNNING, STOPPED, ERRORED = TrainJobStatus
LEGAL = [(source, target) for source, targets in TRAIN_JOB_TRANSITIONS.items() for target in sorted(targets)]
ILLEGAL = [(s, t) for s in TrainJobStatus for t in TrainJobStatus if (s, t) not in LEGAL]


def test_a_train_job_comes_back_as_it_was_created(store, given):
    job = given.train_job(budget=TrainBudget(time_hours=0.1, gpu_count=2), train_args={"features": ["a", "ü"]})
    assert store.train_jobs.get_train_job(job.id) == job
    assert (job.app_version, job.status, job.error) == (1, STARTED, None)
    assert job.budget == TrainBudget(time_hours=0.1, gpu_count=2)
    assert (job.datetime_stop_requested, job.datetime_stopped) == (None, None)


def test_a_train_job_has_one_part_for_each_model_in_their_order(store, given):
    user = given.user()
    models = [given.model(user, name=name) for name in ("z", "a", "m")]
    job = given.train_job(user, models=models)
    parts = store.train_jobs.list_sub_train_jobs(job.id)
    assert [(p.model_id, p.model_name) for p in parts] == [(m.id, m.name) for m in models]
    assert {(p.train_job_id, p.status, p.error, p.advisor_id) for p in parts} == {(job.id, STARTED, None, None)}
    assert [store.train_jobs.get_sub_train_job(p.id) for p in parts] == parts


def test_versions_count_up_for_each_user_and_app(store, given):
    user = given.user()
    jobs = [given.stopped_train_job(user, "app") for _ in range(3)]
    assert [job.app_version for job in jobs] == [1, 2, 3]
    assert given.train_job(user, "other").app_version == 1
    assert given.train_job(given.user(), "app").app_version == 1
    assert store.train_jobs.get_train_job_of_app(user.id, "app") == jobs[2]
    assert store.train_jobs.get_train_job_of_app(user.id, "app", 2) == jobs[1]
    assert store.train_jobs.list_train_jobs_of_app(user.id, "app") == jobs[::-1]
    assert store.train_jobs.list_train_jobs_of_app(user.id, "app", offset=1, limit=1) == [jobs[1]]


@pytest.mark.parametrize("status", [STARTED, RUNNING])
def test_a_second_live_train_job_of_an_app_is_refused(store, given, status):
    user = given.user()
    job = given.train_job(user)
    if status is RUNNING:
        store.train_jobs.set_train_job_status(job.id, RUNNING)
    with pytest.raises(InvalidTrainJobError, match="'app' is running already"):
        given.train_job(user)
    store.train_jobs.set_train_job_status(job.id, ERRORED)
    assert given.train_job(user).app_version == 2


def test_a_train_job_that_cannot_run_is_errored_from_the_start_and_never_live(store, given):
    user = given.user()
    job = given.train_job(user, error="the model does not load")
    subs = store.train_jobs.list_sub_train_jobs(job.id)
    assert (job.status, job.error) == (ERRORED, "the model does not load")
    assert {(s.status, s.error) for s in subs} == {(ERRORED, "the model does not load")}
    assert job.datetime_stopped is not None
    assert store.train_jobs.list_live_train_jobs() == []
    given.train_job(user)
    with pytest.raises(InvalidTrainJobError, match="'app' is running already"):
        given.train_job(user, error="the model does not load")


@pytest.mark.parametrize(
    ("missing", "error"),
    [
        ("user_id", InvalidUserError),
        ("train_dataset_id", InvalidDatasetError),
        ("val_dataset_id", InvalidDatasetError),
        ("models", InvalidModelError),
    ],
)
def test_a_train_job_that_refers_to_something_unknown_is_refused(store, given, missing, error):
    user = given.user()
    unknown = [msgspec.structs.replace(given.model(user), id="unknown")] if missing == "models" else "unknown"
    with pytest.raises(error, match="unknown"):
        given.train_job(user, **{missing: unknown})
    assert store.train_jobs.list_train_jobs(user.id) == []


def test_train_jobs_are_listed_latest_first_and_live_ones_oldest_first(store, given):
    user = given.user()
    jobs = [given.train_job(user, app) for app in "abc"]
    other = given.train_job()
    stopped = store.train_jobs.set_train_job_status(jobs[1].id, STOPPED)
    assert store.train_jobs.list_train_jobs(user.id) == [jobs[2], stopped, jobs[0]]
    assert store.train_jobs.list_train_jobs(user.id, offset=1, limit=1) == [stopped]
    assert store.train_jobs.list_live_train_jobs() == [jobs[0], jobs[2], other]


@pytest.mark.parametrize(("source", "target"), LEGAL)
def test_a_train_job_status_changes_as_the_table_allows(store, given, source, target):
    job = given.train_job()
    if source is not STARTED:
        store.train_jobs.set_train_job_status(job.id, source)
    changed = store.train_jobs.set_train_job_status(job.id, target, "because \0")
    assert (changed.status, changed.error) == (target, "because \ufffd")
    assert (changed.datetime_stopped is not None) == is_final(TRAIN_JOB_TRANSITIONS, target)
    assert store.train_jobs.get_train_job(job.id) == changed


@pytest.mark.parametrize(("source", "target"), ILLEGAL)
def test_a_train_job_status_does_not_change_otherwise(store, given, source, target):
    job = given.train_job()
    if source is not STARTED:
        job = store.train_jobs.set_train_job_status(job.id, source)
    with pytest.raises(IllegalTransitionError, match=f"{source.value}.*{target.value}"):
        store.train_jobs.set_train_job_status(job.id, target)
    assert store.train_jobs.get_train_job(job.id) == job


def test_a_stop_is_requested_once(store, given):
    job = given.train_job()
    requested = store.train_jobs.request_train_job_stop(job.id)
    assert requested.datetime_stop_requested is not None
    assert requested.status is STARTED
    assert store.train_jobs.request_train_job_stop(job.id) == requested


def test_a_stop_of_a_final_train_job_changes_nothing(store, given):
    job = given.stopped_train_job()
    assert store.train_jobs.request_train_job_stop(job.id) == job


def test_the_owner_changes_the_status_of_a_part(store, given):
    sub = given.sub_train_job("advisor")
    store.train_jobs.set_sub_train_job_status(sub.id, RUNNING, owner_id="advisor")
    changed = store.train_jobs.set_sub_train_job_status(sub.id, ERRORED, "no file", owner_id="advisor")
    assert (changed.status, changed.error) == (ERRORED, "no file")
    assert store.train_jobs.get_sub_train_job(sub.id) == changed
    with pytest.raises(IllegalTransitionError, match="ERRORED"):
        store.train_jobs.set_sub_train_job_status(sub.id, RUNNING, owner_id="advisor")


@pytest.mark.parametrize(("owner", "writer"), [("b", "a"), (None, "a"), ("b", None)])
def test_nobody_but_the_owner_changes_the_status_of_a_part(store, given, owner, writer):
    sub = given.sub_train_job(owner)
    with pytest.raises(StaleOwnerError, match=sub.id):
        store.train_jobs.set_sub_train_job_status(sub.id, RUNNING, owner_id=writer)
    assert store.train_jobs.get_sub_train_job(sub.id) == sub


def test_unknown_train_jobs_are_refused(store, given):
    jobs = store.train_jobs
    user = given.train_job().user_id
    for call in (
        lambda: jobs.get_train_job("nothing"),
        lambda: jobs.get_train_job_of_app(user, "nothing"),
        lambda: jobs.get_train_job_of_app(user, "app", 2),
        lambda: jobs.get_train_job_of_app("nobody", "app"),
        lambda: jobs.request_train_job_stop("nothing"),
        lambda: jobs.set_train_job_status("nothing", RUNNING),
        lambda: jobs.get_sub_train_job("nothing"),
        lambda: jobs.set_advisor("nothing", "advisor"),
        lambda: jobs.set_sub_train_job_status("nothing", RUNNING, owner_id=None),
    ):
        with pytest.raises(InvalidTrainJobError):
            call()
    assert jobs.list_train_jobs("nobody") == jobs.list_sub_train_jobs("nothing") == []

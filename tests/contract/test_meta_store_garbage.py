"""Parameters that go: what the meta store promises to those who free them and those who deploy at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from support.stores.meta_store_records import Given

from rafiki.constants import InferenceJobStatus, TrainJobStatus
from rafiki.entities import Trial, TrialCheckpoint
from rafiki.errors import InvalidTrialError, RafikiError
from rafiki.meta_store import MetaStore, open_meta_store


def finished_trials(store: MetaStore, given: Given, scores: list[float], app: str = "app") -> list[Trial]:
    """Trials with parameters of a job that has stopped."""
    job = given.train_job(app=app)
    [sub] = store.train_jobs.list_sub_train_jobs(job.id)
    found = [given.completed_trial(sub, no, score, f"p{no}") for no, score in enumerate(scores, 1)]
    store.train_jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)
    return found


def test_freed_parameters_are_gone_and_the_trial_is_no_best_one(store: MetaStore, given: Given) -> None:
    first, second = finished_trials(store, given, [0.5, 0.9])
    assert store.trials.free_params(second.id, "p2") is True
    assert store.trials.get_trial(second.id).is_params_saved is False
    assert store.trials.get_trial(second.id).score == 0.9
    assert [t.id for t in store.trials.list_best_trials(first.train_job_id)] == [first.id]
    # And again: nothing to free.
    assert store.trials.free_params(second.id, "p2") is False


def test_other_parameters_than_those_meant_are_not_freed(store: MetaStore, given: Given) -> None:
    [trial] = finished_trials(store, given, [0.5])
    assert store.trials.free_params(trial.id, "other") is False
    assert store.trials.free_params("unknown", "p1") is False
    assert store.trials.get_trial(trial.id).params_id == "p1"


def test_a_live_train_job_keeps_its_parameters(store: MetaStore, given: Given) -> None:
    trial = given.completed_trial(given.sub_train_job(), 1, 0.5, "p1")
    assert store.trials.free_params(trial.id, "p1") is False
    store.train_jobs.set_train_job_status(trial.train_job_id, TrainJobStatus.STOPPED)
    assert store.trials.free_params(trial.id, "p1") is True


def test_the_advisor_of_a_live_search_frees_parameters_and_no_other_one_does(store: MetaStore, given: Given) -> None:
    sub = given.sub_train_job("adv")
    trial = given.completed_trial(sub, 1, 0.5, "p1")
    assert store.trials.free_params(trial.id, "p1", owner_id="another") is False
    assert store.trials.find_used_params(["p1"]) == {"p1"}
    assert store.trials.free_params(trial.id, "p1", owner_id="adv") is True
    assert store.trials.find_used_params(["p1"]) == set()
    assert store.trials.get_trial(trial.id).is_params_saved is False


def test_the_advisor_frees_nothing_that_a_live_deployment_serves(store: MetaStore, given: Given) -> None:
    sub = given.sub_train_job("adv")
    trial = given.completed_trial(sub, 1, 0.5, "p1")
    given.inference_job(store.train_jobs.get_train_job(trial.train_job_id), [trial.id])
    assert store.trials.free_params(trial.id, "p1", owner_id="adv") is False


def test_of_a_batch_only_those_are_freed_that_may_be(store: MetaStore, given: Given) -> None:
    sub = given.sub_train_job("adv")
    found = [given.completed_trial(sub, no, no / 10, f"p{no}") for no in range(1, 6)]
    given.inference_job(store.train_jobs.get_train_job(sub.train_job_id), [found[1].id])
    batch = {t.id: f"p{t.no}" for t in found[:3]} | {found[3].id: "other", "unknown": "p5"}
    assert store.trials.free_params_of({}, owner_id="adv") == []
    assert store.trials.free_params_of(batch, owner_id="another") == []
    saved = store.trials.list_saved_trial_ids(found[0].sub_train_job_id)
    assert {found[0].id, found[2].id} <= saved
    assert set(store.trials.free_params_of(batch, owner_id="adv")) == {found[0].id, found[2].id}
    assert store.trials.list_saved_trial_ids(found[0].sub_train_job_id) == saved - {found[0].id, found[2].id}
    assert store.trials.find_used_params(["p1", "p2", "p3", "p4", "p5"]) == {"p2", "p4", "p5"}
    assert store.trials.free_params_of(batch, owner_id="adv") == []


def test_a_checkpoint_counts_as_used(store: MetaStore, given: Given) -> None:
    sub = given.sub_train_job("adv")
    trial = given.trial(sub)
    store.trials.set_checkpoint(trial.id, TrialCheckpoint(params_id="c1", step=1, attempt=1), owner_id="adv")
    assert store.trials.find_used_params(["c1"]) == {"c1"}
    assert store.trials.find_used_params(["c2"]) == set()


def test_what_a_live_deployment_serves_is_kept_until_it_ends(store: MetaStore, given: Given) -> None:
    [trial] = finished_trials(store, given, [0.5])
    job = given.inference_job(store.train_jobs.get_train_job(trial.train_job_id), [trial.id])
    assert store.trials.free_params(trial.id, "p1") is False
    store.inference_jobs.set_inference_job_status(job.id, InferenceJobStatus.STOPPED)
    assert store.trials.free_params(trial.id, "p1") is True


def test_a_trial_without_its_parameters_cannot_be_deployed(store: MetaStore, given: Given) -> None:
    first, second = finished_trials(store, given, [0.5, 0.9])
    store.trials.free_params(second.id, "p2")
    train_job = store.train_jobs.get_train_job(first.train_job_id)
    with pytest.raises(InvalidTrialError, match="rafiki gc"):
        given.inference_job(train_job, [first.id, second.id])
    assert store.inference_jobs.find_live_inference_job(train_job.id) is None
    assert given.inference_job(train_job, [first.id]).status == InferenceJobStatus.STARTED


def test_who_frees_and_who_deploys_at_once_never_both_succeed(store: MetaStore, given: Given) -> None:
    trials = [finished_trials(store, given, [0.5], f"app-{i}")[0] for i in range(24)]

    def race(trial: Trial) -> tuple[bool, bool]:
        barrier = threading.Barrier(2)
        train_job = store.train_jobs.get_train_job(trial.train_job_id)

        def free() -> bool:
            barrier.wait()
            return store.trials.free_params(trial.id, "p1")

        def deploy() -> bool:
            barrier.wait()
            try:
                given.inference_job(train_job, [trial.id])
            except RafikiError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            freed, deployed = pool.submit(free), pool.submit(deploy)
            return freed.result(60), deployed.result(60)

    for trial in trials:
        freed, deployed = race(trial)
        assert freed is not deployed
        assert store.trials.get_trial(trial.id).is_params_saved is deployed


def test_freeing_waits_for_a_deployment_that_is_being_written(new_postgres_url: str) -> None:
    """The window in which an implementation that looks only once would free what is deployed."""
    with open_meta_store(new_postgres_url) as store:
        [trial] = finished_trials(store, Given(store), [0.5])
        engine = sqlalchemy.create_engine(new_postgres_url.replace("postgresql:", "postgresql+psycopg2:"))
        with engine.connect() as connection, ThreadPoolExecutor(1) as pool:
            with connection.begin():
                # As create_inference_job does it, one statement at a time.
                run = connection.execute
                run(sqlalchemy.text("SELECT id FROM trials WHERE id = :id FOR SHARE"), {"id": trial.id})
                freeing = pool.submit(store.trials.free_params, trial.id, "p1")
                run(
                    sqlalchemy.text(
                        "INSERT INTO inference_jobs (id, user_id, train_job_id, app, app_version, budget, status, "
                        "datetime_started) SELECT 'i1', user_id, id, app, app_version, budget, 'STARTED', "
                        "datetime_started FROM train_jobs WHERE id = :id"
                    ),
                    {"id": trial.train_job_id},
                )
                run(
                    sqlalchemy.text(
                        "INSERT INTO served_trials (inference_job_id, trial_id, position) VALUES ('i1', :id, 0)"
                    ),
                    {"id": trial.id},
                )
            assert freeing.result(60) is False
        engine.dispose()
        assert store.trials.get_trial(trial.id).is_params_saved is True


def test_saved_trials_are_told_best_first_with_what_decides_about_them(store: MetaStore, given: Given) -> None:
    mine = finished_trials(store, given, [0.2, 0.9, 0.9], "mine")
    live = given.completed_trial(given.sub_train_job(), 1, 0.5, "q1")
    given.trial(store.train_jobs.get_sub_train_job(live.sub_train_job_id), 2)
    found = store.trials.list_saved_trials()
    assert [t.id for t in found if t.app == "mine"] == [mine[1].id, mine[2].id, mine[0].id]
    assert {t.id: t.is_job_live for t in found} == {**{t.id: False for t in mine}, live.id: True}
    [told] = [t for t in found if t.id == live.id]
    assert (told.params_id, told.score, told.app_version, told.no) == ("q1", 0.5, 1, 1)
    assert told.is_job_live is True


def test_the_latest_deployment_of_each_job_is_told(store: MetaStore, given: Given) -> None:
    first, second = finished_trials(store, given, [0.5, 0.9])
    [other] = finished_trials(store, given, [0.5], "other")
    train_job = store.train_jobs.get_train_job(first.train_job_id)
    assert store.inference_jobs.list_last_served_trial_ids() == set()
    job = given.inference_job(train_job, [first.id])
    store.inference_jobs.set_inference_job_status(job.id, InferenceJobStatus.STOPPED)
    given.inference_job(store.train_jobs.get_train_job(other.train_job_id), [other.id])
    assert store.inference_jobs.list_last_served_trial_ids() == {first.id, other.id}
    given.inference_job(train_job, [second.id])
    assert store.inference_jobs.list_last_served_trial_ids() == {second.id, other.id}

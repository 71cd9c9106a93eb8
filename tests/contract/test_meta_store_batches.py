"""Reads of many records at once give what the single ones gave, whatever is in the store."""

from __future__ import annotations

import random

import pytest
from support.stores.random_jobs import fill

from rafiki.entities import ServedModel
from rafiki.errors import InvalidModelError
from rafiki.states import SERVICE_TRANSITIONS, is_final


@pytest.mark.parametrize("seed", range(3))
def test_a_read_of_many_gives_what_single_reads_give(store, given, seed):
    rng = random.Random(seed)
    train_jobs, inference_jobs = fill(store, given, rng)
    ids = [job.id for job in train_jobs]
    rng.shuffle(ids)
    some = ids[: rng.randint(1, len(ids))]
    assert store.train_jobs.list_sub_train_jobs_of(some) == {i: store.train_jobs.list_sub_train_jobs(i) for i in some}
    everybody = [*some, *(job.id for job in inference_jobs), "nobody"]
    assert store.services.list_ended_services(everybody) == {
        i: [s for s in store.services.list_services(i) if is_final(SERVICE_TRANSITIONS, s.status)] for i in everybody
    }
    model_ids = {sub.model_id for i in some for sub in store.train_jobs.list_sub_train_jobs(i)}
    assert store.models.get_models(model_ids) == {i: store.models.get_model(i) for i in model_ids}
    served = store.inference_jobs.list_served_models([job.id for job in inference_jobs])
    for job in inference_jobs:
        trial_ids = [s.trial_id for s in store.inference_jobs.list_served_trials(job.id)]
        subs = {s.id: s.model_id for s in store.train_jobs.list_sub_train_jobs(job.train_job_id)}
        trials = [store.trials.get_trial(i) for i in trial_ids]
        models = [ServedModel(model_id=subs[t.sub_train_job_id], label=t.label) for t in trials]
        assert list(served[job.id].items()) == list(zip(trial_ids, models, strict=True))
    assert store.services.list_jobs_with_live_services() == {s.job_id for s in store.services.list_live_services()}


def test_a_read_of_many_takes_none_and_more_than_one_statement_does(store, given):
    train_job = given.train_job()
    unknown = [f"nobody{n}" for n in range(25_000)]
    found = store.train_jobs.list_sub_train_jobs_of([*unknown, train_job.id])
    assert found[train_job.id] == store.train_jobs.list_sub_train_jobs(train_job.id)
    assert sum(map(len, found.values())) == 1
    assert store.train_jobs.list_sub_train_jobs_of([]) == {}
    assert store.services.list_ended_services([]) == {}
    assert store.models.get_models([]) == {}
    assert store.inference_jobs.list_served_models([]) == {}


def test_a_model_that_is_missing_among_many_is_named(store, given):
    model = given.model(given.user())
    with pytest.raises(InvalidModelError, match="nothing"):
        store.models.get_models([model.id, "nothing"])

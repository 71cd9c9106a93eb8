"""A meta store with jobs of all sorts, whose services are in every state."""

from __future__ import annotations

import random

from support.stores.meta_store_records import Given

from rafiki.constants import ServiceStatus, ServiceType
from rafiki.entities import InferenceJob, TrainJob
from rafiki.meta_store import MetaStore

KINDS = list(ServiceType)


def fill(store: MetaStore, given: Given, rng: random.Random) -> tuple[list[TrainJob], list[InferenceJob]]:
    """A few users with train jobs of one to three models, services in every state, and deployments."""
    train_jobs, inference_jobs = [], []
    for user in [given.user() for _ in range(2)]:
        models = [given.model(user) for _ in range(3)]
        for n in range(rng.randint(1, 4)):
            chosen = rng.sample(models, rng.randint(1, 3))
            train_job = given.train_job(user, f"app{n}", models=chosen)
            train_jobs.append(train_job)
            subs = store.train_jobs.list_sub_train_jobs(train_job.id)
            trials = [
                given.completed_trial(rng.choice(subs), no, rng.random()).id for no in range(1, rng.randint(1, 6))
            ]
            if trials and rng.random() < 0.8:
                rng.shuffle(trials)
                inference_jobs.append(given.inference_job(train_job, trials))
    for job in [*train_jobs, *inference_jobs]:
        for slot in range(rng.randint(0, 5)):
            service = given.service(job_id=job.id, service_type=rng.choice(KINDS), unit_id=f"u{slot}", slot=slot)
            for status in rng.choice([[], ["RUNNING"], ["RUNNING", "STOPPED"], ["ERRORED"]]):
                store.services.set_service_status(service.id, ServiceStatus(status), "why" if slot else None)
    return train_jobs, inference_jobs

"""What other processes do to a meta store in the tests. Imports no pytest, so that they start quickly."""

from __future__ import annotations

import importlib
from multiprocessing.synchronize import Barrier

from support.stores.meta_store_records import Given, log_lines

from rafiki.constants import TrainJobStatus
from rafiki.entities import Model, User
from rafiki.errors import InvalidTrainJobError
from rafiki.meta_store import open_meta_store


def migrate(url: str) -> None:
    with open_meta_store(url) as store:
        store.migrate()


def migrate_together(url: str, barrier: Barrier) -> None:
    """Everything is loaded first, so that the processes meet in the database from its first connection on."""
    importlib.import_module("alembic.command")
    with open_meta_store(url) as store:
        barrier.wait(60)
        store.migrate()


def create_versions(url: str, user: User, models: list[Model], count: int) -> list[int]:
    """Create and stop ``count`` versions of one app, in competition with others; the versions it got."""
    versions: list[int] = []
    with open_meta_store(url) as store:
        given = Given(store)
        while len(versions) < count:
            try:
                job = given.train_job(user, "app", models)
            except InvalidTrainJobError:
                continue
            store.train_jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)
            versions.append(job.app_version)
    return versions


def run_trials(url: str, sub_train_job_id: str, owner_id: str, count: int) -> None:
    """What an advisor does to the store."""
    with open_meta_store(url) as store:
        sub = store.train_jobs.get_sub_train_job(sub_train_job_id)
        given = Given(store)
        for no in range(1, count + 1):
            trial = given.trial(sub, no, owner_id=owner_id)
            store.trials.add_trial_logs(trial.id, log_lines(trial, 3), owner_id=owner_id)
            store.trials.list_best_trials(sub.train_job_id)
            store.trials.complete_trial(trial.id, score=no / 7, params_id="p", owner_id=owner_id)

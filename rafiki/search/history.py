"""What earlier jobs of the same app found out: the trials that a warm start learns from."""

from __future__ import annotations

import msgspec

from rafiki.advisor.base import TrialRecord
from rafiki.constants import TrialStatus
from rafiki.entities import TrainJob
from rafiki.meta_store import MetaStore
from rafiki.search.search import to_record

_MOST = 500


def earlier_trials(store: MetaStore, job: TrainJob, sub_train_job_id: str) -> tuple[TrialRecord, ...]:
    """Completed trials of the same model in earlier jobs of the same user and app, oldest first, 500 at most (the
    latest).

    Only of jobs on the same datasets with the same train arguments: scores of others do not compare. Trials that ended
    early, and those of phases in which a score means something else, are left out.
    """
    model_id = store.train_jobs.get_sub_train_job(sub_train_job_id).model_id
    found: list[TrialRecord] = []
    for other in store.train_jobs.list_train_jobs_of_app(job.user_id, job.app):
        if other.app_version >= job.app_version or not _is_alike(other, job):
            continue
        for sub in store.train_jobs.list_sub_train_jobs(other.id):
            if sub.model_id == model_id:
                trials = store.trials.list_trials_of_sub_train_job(sub.id)
                done = [t for t in trials if t.status is TrialStatus.COMPLETED and t.ended_early is None]
                found = [to_record(t) for t in done] + found
    return tuple(msgspec.structs.replace(r, no=i) for i, r in enumerate(found[-_MOST:], 1))


def _is_alike(a: TrainJob, b: TrainJob) -> bool:
    return (a.train_dataset_id, a.val_dataset_id, a.train_args) == (b.train_dataset_id, b.val_dataset_id, b.train_args)

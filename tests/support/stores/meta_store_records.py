"""Makes records of the meta store with defaults for what a test does not care about."""

from __future__ import annotations

from typing import Any

from rafiki.budget import InferenceBudget
from rafiki.constants import ModelAccessRight, ServiceType, TrainJobStatus, UserType
from rafiki.entities import Dataset, InferenceJob, Model, Service, SubTrainJob, TrainJob, Trial, TrialLog, User
from rafiki.meta_store import MetaStore
from rafiki.proposals import Proposal
from rafiki.utils.ids import new_id


class Given:
    def __init__(self, store: MetaStore) -> None:
        self._store = store

    def user(self, email: str | None = None, user_type: UserType = UserType.APP_DEVELOPER) -> User:
        return self._store.users.create_user(email or f"{new_id()}@rafiki", "hash", user_type)

    def dataset(self, user: User, **fields: Any) -> Dataset:
        defaults = {"name": "digits", "task": "T", "size_bytes": 1, "sha256": "ab", "store_id": "x"}
        return self._store.datasets.create_dataset(user_id=user.id, **{**defaults, **fields})

    def model(self, user: User, **fields: Any) -> Model:
        defaults = {
            "name": new_id(),
            "task": "T",
            "model_class": "M",
            "model_file": b"class M: ...",
            "model_file_sha256": "ab",
            "dependencies": {"numpy": "1.26"},
            "access_right": ModelAccessRight.PRIVATE,
        }
        return self._store.models.create_model(user_id=user.id, **{**defaults, **fields})

    def train_job(
        self, user: User | None = None, app: str = "app", models: list[Model] | None = None, **fields: Any
    ) -> TrainJob:
        user = user or self.user()
        dataset = self.dataset(user)
        defaults = {
            "user_id": user.id,
            "task": "T",
            "train_dataset_id": dataset.id,
            "val_dataset_id": dataset.id,
            "budget": {"TIME_HOURS": 0.1},
            "train_args": {},
        }
        models = [self.model(user)] if models is None else models
        return self._store.train_jobs.create_train_job(app=app, models=models, **{**defaults, **fields})

    def stopped_train_job(self, user: User | None = None, app: str = "app", **fields: Any) -> TrainJob:
        job = self.train_job(user, app, **fields)
        return self._store.train_jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)

    def sub_train_job(self, owner_id: str | None = None) -> SubTrainJob:
        sub = self._store.train_jobs.list_sub_train_jobs(self.train_job().id)[0]
        return self._store.train_jobs.set_advisor(sub.id, owner_id)

    def trial(self, sub: SubTrainJob, no: int = 1, **fields: Any) -> Trial:
        defaults: dict[str, Any] = {"worker_id": "w", "proposal": Proposal(knobs={}), "owner_id": sub.advisor_id}
        return self._store.trials.create_trial(sub_train_job=sub, no=no, **{**defaults, **fields})

    def completed_trial(self, sub: SubTrainJob, no: int, score: float, params_id: str | None = "p") -> Trial:
        trial = self.trial(sub, no)
        return self._store.trials.complete_trial(trial.id, score=score, params_id=params_id, owner_id=sub.advisor_id)

    def inference_job(self, train_job: TrainJob, trial_ids: list[str] | None = None) -> InferenceJob:
        return self._store.inference_jobs.create_inference_job(
            user_id=train_job.user_id,
            train_job_id=train_job.id,
            app=train_job.app,
            app_version=train_job.app_version,
            budget=InferenceBudget(),
            trial_ids=trial_ids or [],
        )

    def service(self, **fields: Any) -> Service:
        defaults: dict[str, Any] = {
            "service_id": new_id(),
            "service_type": ServiceType.TRAIN,
            "job_id": "job",
            "unit_id": "unit",
            "slot": 0,
            "attempt": 1,
        }
        return self._store.services.create_service(**{**defaults, **fields})


def log_lines(trial: Trial, count: int, attempt: int = 1, first: int = 0) -> list[TrialLog]:
    return [
        TrialLog(trial_id=trial.id, attempt=attempt, line_no=no, entry={"line": no})
        for no in range(first, first + count)
    ]

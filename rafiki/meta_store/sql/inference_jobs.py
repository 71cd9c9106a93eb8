"""Inference jobs in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, Select, delete, exists, insert, or_, select, update

from rafiki.budget import InferenceBudget
from rafiki.constants import InferenceJobStatus, RolloutStatus, TrialStatus
from rafiki.deployment import Deployment, Replicas
from rafiki.ensembles import EnsembleSummary
from rafiki.entities import InferenceJob, ServedModel, ServedTrial
from rafiki.errors import (
    InvalidInferenceJobError,
    InvalidRunningInferenceJobError,
    InvalidTrainJobError,
    InvalidTrialError,
    InvalidUserError,
    RunningInferenceJobExistsError,
)
from rafiki.job_events import JobEvent
from rafiki.meta_store.base import InferenceJobStore
from rafiki.meta_store.sql.database import Parents, Refusals, not_found
from rafiki.meta_store.sql.outbox import EVENTS_OF_INFERENCE_JOBS, tell_of_inference_job
from rafiki.meta_store.sql.records import Records, illegal, parts_of, status_change
from rafiki.meta_store.sql.schema import (
    inference_job_is_live,
    inference_job_is_primary,
    inference_jobs,
    rollouts,
    served_trials,
    sub_train_jobs,
    train_jobs,
    trials,
    users,
)
from rafiki.states import INFERENCE_JOB_TRANSITIONS
from rafiki.utils.ids import new_id, trial_label

_LATEST_FIRST = [inference_jobs.c.datetime_started.desc(), inference_jobs.c.id]


class SqlInferenceJobStore(Records, InferenceJobStore):
    def create_inference_job(
        self,
        *,
        user_id: str,
        train_job_id: str,
        app: str,
        app_version: int,
        budget: InferenceBudget,
        trial_ids: Sequence[str],
        weights: Sequence[float] | None = None,
        ensemble: EnsembleSummary = EnsembleSummary(),
        labels: Mapping[str, str] | None = None,
        deployment: Deployment = Deployment(),
    ) -> InferenceJob:
        values = {
            "id": new_id(),
            "user_id": user_id,
            "train_job_id": train_job_id,
            "app": app,
            "app_version": app_version,
            "budget": budget,
            "ensemble": ensemble,
            "labels": labels or {},
            "deployment": deployment,
            "status": InferenceJobStatus.STARTED,
            "datetime_started": self._db.now(),
        }
        live = RunningInferenceJobExistsError(
            f"An inference job of the app {app!r}, version {app_version}, is already running. Stop it first."
        )
        refusals = Refusals(
            unique={
                "uq_inference_jobs_live": live,
                "pk_served_trials": InvalidInferenceJobError("An inference job cannot serve a trial twice."),
            },
            parents=[
                Parents(users, [user_id], "user", InvalidUserError),
                Parents(train_jobs, [train_job_id], "train job", InvalidTrainJobError),
                Parents(trials, trial_ids, "trial", InvalidTrialError),
            ],
        )
        with self._db.write(refusals) as connection:
            hold_params(connection, trial_ids)
            job = self._insert(connection, inference_jobs, InferenceJob, values)
            if trial_ids:
                add_members(connection, job.id, trial_ids, weights or [1.0] * len(trial_ids))
            tell_of_inference_job(connection, JobEvent.INFERENCE_JOB_STARTED, job, self._db.now())
        return job

    def get_inference_job(self, inference_job_id: str) -> InferenceJob:
        return self._get(
            inference_jobs, InferenceJob, inference_job_id, "inference job", InvalidRunningInferenceJobError
        )

    def find_live_inference_job(self, train_job_id: str) -> InferenceJob | None:
        of_job = inference_jobs.c.train_job_id == train_job_id
        # The one that answers before one that is to take its place.
        order = [inference_job_is_primary.desc(), inference_jobs.c.datetime_started, inference_jobs.c.id]
        return next(
            iter(self._list(inference_jobs, InferenceJob, [of_job, inference_job_is_live], order, limit=1)), None
        )

    def find_primary(self, front_id: str) -> InferenceJob:
        behind = or_(inference_jobs.c.id == front_id, inference_jobs.c.front_id == front_id)
        where = [behind, inference_job_is_live, inference_job_is_primary]
        found = self._list(inference_jobs, InferenceJob, where, _LATEST_FIRST, limit=1)
        return found[0] if found else self.get_inference_job(front_id)

    def list_inference_jobs(self, user_id: str, *, offset: int = 0, limit: int | None = None) -> list[InferenceJob]:
        where = [inference_jobs.c.user_id == user_id]
        return self._list(inference_jobs, InferenceJob, where, _LATEST_FIRST, offset, limit)

    def list_inference_jobs_of_app(
        self, user_id: str, app: str, *, offset: int = 0, limit: int | None = None
    ) -> list[InferenceJob]:
        where = [inference_jobs.c.user_id == user_id, inference_jobs.c.app == app]
        return self._list(inference_jobs, InferenceJob, where, _LATEST_FIRST, offset, limit)

    def list_live_inference_jobs(self, *, offset: int = 0, limit: int | None = None) -> list[InferenceJob]:
        order = [inference_jobs.c.datetime_started, inference_jobs.c.id]
        return self._list(inference_jobs, InferenceJob, [inference_job_is_live], order, offset, limit)

    def list_served_trials(self, inference_job_id: str) -> list[ServedTrial]:
        where = [served_trials.c.inference_job_id == inference_job_id]
        return self._list(served_trials, ServedTrial, where, [served_trials.c.position])

    def list_served_models(self, inference_job_ids: Collection[str]) -> dict[str, dict[str, ServedModel]]:
        found: dict[str, dict[str, ServedModel]] = {job_id: {} for job_id in inference_job_ids}
        wanted = (
            select(
                served_trials.c.inference_job_id,
                served_trials.c.trial_id,
                sub_train_jobs.c.model_id,
                trials.c.model_name,
                trials.c.model_version,
                trials.c.no,
            )
            .join(trials, served_trials.c.trial_id == trials.c.id)
            .join(sub_train_jobs, trials.c.sub_train_job_id == sub_train_jobs.c.id)
            .order_by(served_trials.c.inference_job_id, served_trials.c.position)
        )
        with self._db.read() as connection:
            for some in parts_of(found):
                for row in connection.execute(wanted.where(served_trials.c.inference_job_id.in_(some))):
                    label = trial_label(row.model_name, row.model_version, row.no)
                    found[row.inference_job_id][row.trial_id] = ServedModel(model_id=row.model_id, label=label)
        return found

    def set_served_trials(
        self, inference_job_id: str, trial_ids: Sequence[str], weights: Sequence[float], ensemble: EnsembleSummary
    ) -> InferenceJob:
        refusals = Refusals(parents=[Parents(trials, trial_ids, "trial", InvalidTrialError)])
        where = [
            inference_jobs.c.id == inference_job_id,
            inference_jobs.c.datetime_stop_requested.is_(None),
            inference_job_is_live,
        ]
        with self._db.write(refusals) as connection:
            hold_params(connection, trial_ids)
            job = self._update_in(connection, inference_jobs, InferenceJob, where, {"ensemble": ensemble})
            if job is not None:
                connection.execute(delete(served_trials).where(served_trials.c.inference_job_id == inference_job_id))
                add_members(connection, inference_job_id, trial_ids, weights)
        if job is None:
            raise InvalidRunningInferenceJobError(f"The inference job {inference_job_id} does not run any more.")
        return job

    def list_last_served_trial_ids(self) -> set[str]:
        later = inference_jobs.alias()
        is_last = ~exists().where(
            later.c.train_job_id == inference_jobs.c.train_job_id,
            later.c.datetime_started > inference_jobs.c.datetime_started,
        )
        statement = (
            select(served_trials.c.trial_id)
            .join(inference_jobs, served_trials.c.inference_job_id == inference_jobs.c.id)
            .where(or_(is_last, inference_jobs.c.id.in_(_jobs_before())))
        )
        with self._db.read() as connection:
            return set(connection.scalars(statement))

    def request_inference_job_stop(self, inference_job_id: str) -> InferenceJob:
        where = [
            inference_jobs.c.id == inference_job_id,
            inference_jobs.c.datetime_stop_requested.is_(None),
            inference_job_is_live,
        ]
        values = {"datetime_stop_requested": self._db.now()}
        changed = self._update(inference_jobs, InferenceJob, where, values)
        return changed or self.get_inference_job(inference_job_id)

    def set_inference_job_status(
        self, inference_job_id: str, target: InferenceJobStatus, error: str | None = None
    ) -> InferenceJob:
        now = self._db.now()
        allowed, values = status_change(inference_jobs, INFERENCE_JOB_TRANSITIONS, target, error, now)
        where = [inference_jobs.c.id == inference_job_id, allowed]
        with self._db.write() as connection:
            changed = self._update_in(connection, inference_jobs, InferenceJob, where, values)
            if changed is not None:
                tell_of_inference_job(connection, EVENTS_OF_INFERENCE_JOBS[target], changed, now)
        if changed is None:
            present = self.get_inference_job(inference_job_id).status
            raise illegal("inference job", inference_job_id, present, target)
        return changed

    def set_replicas(self, inference_job_id: str, replicas: Replicas) -> InferenceJob:
        where = [
            inference_jobs.c.id == inference_job_id,
            inference_jobs.c.datetime_stop_requested.is_(None),
            inference_job_is_live,
        ]
        with self._db.write() as connection:
            found = connection.execute(select(inference_jobs.c.deployment).where(*where).with_for_update()).first()
            changed = None
            if found is not None:
                deployment = msgspec.structs.replace(found.deployment, replicas=replicas)
                changed = self._update_in(connection, inference_jobs, InferenceJob, where, {"deployment": deployment})
        if changed is None:
            raise InvalidRunningInferenceJobError(f"The inference job {inference_job_id} does not run any more.")
        return changed

    def set_predictor_host(self, inference_job_id: str, predictor_host: str | None) -> InferenceJob:
        values = {"predictor_host": predictor_host}
        behind = [inference_jobs.c.front_id == inference_job_id, inference_job_is_live]
        with self._db.write() as connection:
            connection.execute(update(inference_jobs).where(*behind).values(**values))
            where = [inference_jobs.c.id == inference_job_id]
            changed = self._update_in(connection, inference_jobs, InferenceJob, where, values)
        if changed is None:
            raise not_found(InvalidRunningInferenceJobError, "inference job", inference_job_id)
        return changed


def _jobs_before() -> Select[tuple[str]]:
    """The inference jobs to which a rollback of what answers now would go."""
    present = inference_jobs.alias()
    return (
        select(rollouts.c.from_job_id)
        .join(present, rollouts.c.to_job_id == present.c.id)
        .where(rollouts.c.status == RolloutStatus.PROMOTED, present.c.datetime_stopped.is_(None))
    )


def add_members(
    connection: Connection, inference_job_id: str, trial_ids: Sequence[str], weights: Sequence[float]
) -> None:
    members = [
        {"inference_job_id": inference_job_id, "trial_id": trial_id, "position": position, "weight": weight}
        for position, (trial_id, weight) in enumerate(zip(trial_ids, weights, strict=True))
    ]
    connection.execute(insert(served_trials), members)


def hold_params(connection: Connection, trial_ids: Sequence[str]) -> None:
    """See that the trials still have their parameters, and that nobody frees them before the transaction ends.

    Raises:
        InvalidTrialError: when they have been freed.
    """
    # FOR SHARE waits for a free_params() of the same trial that was first, and makes one that comes later wait.
    wanted = (
        select(trials.c.no, trials.c.model_name, trials.c.model_version, trials.c.status, trials.c.params_id)
        .where(trials.c.id.in_(trial_ids))
        .order_by(trials.c.id)
        .with_for_update(read=True)
    )
    for row in connection.execute(wanted):
        if row.status is TrialStatus.COMPLETED and row.params_id is None:
            label = trial_label(row.model_name, row.model_version, row.no)
            raise InvalidTrialError(
                f"The parameters of the trial {label} are not kept any more: `rafiki gc` has freed them. Deploy again: "
                "other trials are chosen."
            )

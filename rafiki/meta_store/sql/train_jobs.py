"""Train jobs and their parts in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, func, insert, select, update

from rafiki.budget import TrainBudget
from rafiki.constants import TrainJobStatus
from rafiki.entities import Model, SubTrainJob, TrainJob
from rafiki.errors import (
    InvalidDatasetError,
    InvalidModelError,
    InvalidTrainJobError,
    InvalidUserError,
    StaleOwnerError,
)
from rafiki.job_events import JobEvent
from rafiki.meta_store.base import TrainJobStore
from rafiki.meta_store.sql.database import Parents, Refusals, not_found
from rafiki.meta_store.sql.outbox import EVENTS_OF_TRAIN_JOBS, tell_of_train_job
from rafiki.meta_store.sql.records import Records, illegal, status_change, to_entity
from rafiki.meta_store.sql.schema import (
    columns_of,
    datasets,
    models,
    sub_train_jobs,
    train_job_is_live,
    train_jobs,
    users,
)
from rafiki.search_setting import AdvisorSetting
from rafiki.states import TRAIN_JOB_TRANSITIONS
from rafiki.utils.ids import new_id
from rafiki.utils.values import JsonValue

_LATEST_FIRST = [train_jobs.c.datetime_started.desc(), train_jobs.c.id]


class SqlTrainJobStore(Records, TrainJobStore):
    def create_train_job(
        self,
        *,
        user_id: str,
        app: str,
        task: str,
        train_dataset_id: str,
        val_dataset_id: str,
        budget: TrainBudget,
        train_args: Mapping[str, JsonValue],
        models: Sequence[Model],
        advisor: AdvisorSetting = AdvisorSetting(),
        labels: Mapping[str, str] | None = None,
        error: str | None = None,
    ) -> TrainJob:
        refusals = _refusals(user_id, app, [train_dataset_id, val_dataset_id], models)
        with self._db.write(refusals) as connection:
            # The user's row is locked (PostgreSQL): one at a time counts this user's versions.
            locked = select(users.c.id).where(users.c.id == user_id).with_for_update(key_share=True)
            if connection.execute(locked).one_or_none() is None:
                raise not_found(InvalidUserError, "user", user_id)
            latest = select(func.max(train_jobs.c.app_version)).where(
                train_jobs.c.user_id == user_id, train_jobs.c.app == app
            )
            values = {
                "id": new_id(),
                "user_id": user_id,
                "app": app,
                "app_version": (connection.execute(latest).scalar_one() or 0) + 1,
                "task": task,
                "train_dataset_id": train_dataset_id,
                "val_dataset_id": val_dataset_id,
                "budget": budget,
                "train_args": train_args,
                "advisor": advisor,
                "labels": labels or {},
                "status": TrainJobStatus.STARTED,
                "datetime_started": self._db.now(),
            }
            train_job = self._insert(connection, train_jobs, TrainJob, values)
            tell_of_train_job(connection, JobEvent.TRAIN_JOB_STARTED, train_job, self._db.now())
            if models:
                connection.execute(insert(sub_train_jobs), _parts(train_job, models))
            # After the insertion, which is refused while another job of the app is live.
            return train_job if error is None else self._fail_at_once(connection, train_job, error)

    def _fail_at_once(self, connection: Connection, train_job: TrainJob, error: str) -> TrainJob:
        now = self._db.now()
        _, of_subs = status_change(sub_train_jobs, TRAIN_JOB_TRANSITIONS, TrainJobStatus.ERRORED, error, now)
        connection.execute(
            update(sub_train_jobs).where(sub_train_jobs.c.train_job_id == train_job.id).values(**of_subs)
        )
        _, of_job = status_change(train_jobs, TRAIN_JOB_TRANSITIONS, TrainJobStatus.ERRORED, error, now)
        changed = update(train_jobs).where(train_jobs.c.id == train_job.id).values(**of_job)
        failed = to_entity(TrainJob, connection.execute(changed.returning(*columns_of(train_jobs, TrainJob))).one())
        tell_of_train_job(connection, JobEvent.TRAIN_JOB_FAILED, failed, now)
        return failed

    def get_train_job(self, train_job_id: str) -> TrainJob:
        return self._get(train_jobs, TrainJob, train_job_id, "train job", InvalidTrainJobError)

    def get_train_job_of_app(self, user_id: str, app: str, app_version: int = -1) -> TrainJob:
        where = [train_jobs.c.user_id == user_id, train_jobs.c.app == app]
        if app_version != -1:
            where.append(train_jobs.c.app_version == app_version)
        found = self._list(train_jobs, TrainJob, where, [train_jobs.c.app_version.desc()], limit=1)
        if not found:
            version = "" if app_version == -1 else f" of version {app_version}"
            raise InvalidTrainJobError.not_found(f"There is no train job{version} of the app {app!r}.")
        return found[0]

    def list_train_jobs(self, user_id: str, *, offset: int = 0, limit: int | None = None) -> list[TrainJob]:
        where = [train_jobs.c.user_id == user_id]
        return self._list(train_jobs, TrainJob, where, _LATEST_FIRST, offset, limit)

    def is_app_of_others(self, app: str, user_id: str) -> bool:
        statement = select(train_jobs.c.id).where(train_jobs.c.app == app, train_jobs.c.user_id != user_id).limit(1)
        with self._db.read() as connection:
            return connection.scalar(statement) is not None

    def list_train_jobs_of_app(
        self, user_id: str, app: str, *, offset: int = 0, limit: int | None = None
    ) -> list[TrainJob]:
        where = [train_jobs.c.user_id == user_id, train_jobs.c.app == app]
        return self._list(train_jobs, TrainJob, where, [train_jobs.c.app_version.desc()], offset, limit)

    def list_live_train_jobs(self, *, offset: int = 0, limit: int | None = None) -> list[TrainJob]:
        order = [train_jobs.c.datetime_started, train_jobs.c.id]
        return self._list(train_jobs, TrainJob, [train_job_is_live], order, offset, limit)

    def request_train_job_stop(self, train_job_id: str) -> TrainJob:
        where = [
            train_jobs.c.id == train_job_id,
            train_jobs.c.datetime_stop_requested.is_(None),
            train_job_is_live,
        ]
        changed = self._update(train_jobs, TrainJob, where, {"datetime_stop_requested": self._db.now()})
        return changed or self.get_train_job(train_job_id)

    def set_train_job_status(self, train_job_id: str, target: TrainJobStatus, error: str | None = None) -> TrainJob:
        now = self._db.now()
        allowed, values = status_change(train_jobs, TRAIN_JOB_TRANSITIONS, target, error, now)
        where = [train_jobs.c.id == train_job_id, allowed]
        event = EVENTS_OF_TRAIN_JOBS.get(target)
        with self._db.write() as connection:
            changed = self._update_in(connection, train_jobs, TrainJob, where, values)
            if changed is not None and event is not None:
                tell_of_train_job(connection, event, changed, now)
        if changed is None:
            raise illegal("train job", train_job_id, self.get_train_job(train_job_id).status, target)
        return changed

    def list_sub_train_jobs(self, train_job_id: str) -> list[SubTrainJob]:
        where = [sub_train_jobs.c.train_job_id == train_job_id]
        return self._list(sub_train_jobs, SubTrainJob, where, [sub_train_jobs.c.position])

    def list_sub_train_jobs_of(self, train_job_ids: Collection[str]) -> dict[str, list[SubTrainJob]]:
        column = sub_train_jobs.c.train_job_id
        return self._list_of(sub_train_jobs, SubTrainJob, column, train_job_ids, [sub_train_jobs.c.position])

    def get_sub_train_job(self, sub_train_job_id: str) -> SubTrainJob:
        return self._get(sub_train_jobs, SubTrainJob, sub_train_job_id, "sub train job", InvalidTrainJobError)

    def set_advisor(self, sub_train_job_id: str, service_id: str | None) -> SubTrainJob:
        where = [sub_train_jobs.c.id == sub_train_job_id]
        changed = self._update(sub_train_jobs, SubTrainJob, where, {"advisor_id": service_id})
        if changed is None:
            raise not_found(InvalidTrainJobError, "sub train job", sub_train_job_id)
        return changed

    def set_sub_train_job_status(
        self, sub_train_job_id: str, target: TrainJobStatus, error: str | None = None, *, owner_id: str | None
    ) -> SubTrainJob:
        allowed, values = status_change(sub_train_jobs, TRAIN_JOB_TRANSITIONS, target, error, self._db.now())
        owned = sub_train_jobs.c.advisor_id.is_not_distinct_from(owner_id)
        where = [sub_train_jobs.c.id == sub_train_job_id, owned, allowed]
        changed = self._update(sub_train_jobs, SubTrainJob, where, values)
        if changed is None:
            present = self.get_sub_train_job(sub_train_job_id)
            check_owner(present.id, present.advisor_id, owner_id)
            raise illegal("sub train job", sub_train_job_id, present.status, target)
        return changed


def check_owner(sub_train_job_id: str, present: str | None, owner_id: str | None) -> None:
    """Refuse a writer that does not own the sub train job.

    Raises:
        StaleOwnerError
    """
    if present != owner_id:
        raise StaleOwnerError(
            f"The sub train job {sub_train_job_id} belongs to {present or 'the admin'} now, "
            f"not to {owner_id or 'the admin'}; the writer must stop."
        )


def _parts(train_job: TrainJob, models: Sequence[Model]) -> list[dict[str, object]]:
    return [
        {
            "id": new_id(),
            "train_job_id": train_job.id,
            "position": position,
            "model_id": model.id,
            "model_name": model.name,
            "model_version": model.version,
            "status": TrainJobStatus.STARTED,
        }
        for position, model in enumerate(models)
    ]


def _refusals(user_id: str, app: str, dataset_ids: Sequence[str], used: Sequence[Model]) -> Refusals:
    live = InvalidTrainJobError(f"A train job of the app {app!r} is running already. Stop it first.")
    return Refusals(
        unique={"uq_train_jobs_live": live},
        parents=[
            Parents(users, [user_id], "user", InvalidUserError),
            Parents(datasets, dataset_ids, "dataset", InvalidDatasetError),
            Parents(models, [model.id for model in used], "model", InvalidModelError),
        ],
    )

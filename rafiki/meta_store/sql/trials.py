"""Trials and their logs in SQL."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Executable, Table, bindparam, exists, func, literal, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from rafiki import states
from rafiki.constants import TrialStatus
from rafiki.entities import SavedTrial, SubTrainJob, Trial, TrialCheckpoint, TrialLog, TrialReport
from rafiki.errors import InvalidTrainJobError, InvalidTrialError
from rafiki.meta_store.base import TrialStore
from rafiki.meta_store.sql.database import Refusals, not_found
from rafiki.meta_store.sql.outbox import tell_of_trial
from rafiki.meta_store.sql.records import Records, illegal, to_entity
from rafiki.meta_store.sql.schema import (
    columns_of,
    inference_job_is_live,
    inference_jobs,
    served_trials,
    sub_train_jobs,
    train_job_is_live,
    train_jobs,
    trial_can_be_served,
    trial_logs,
    trial_reports,
    trials,
)
from rafiki.meta_store.sql.train_jobs import check_owner
from rafiki.proposals import Proposal
from rafiki.utils.ids import new_id

_COLUMNS = columns_of(trials, Trial)
_BEST_FIRST = [trials.c.score.desc(), trials.c.datetime_started, trials.c.no, trials.c.id]

# Built once: building costs more than running them. FOR SHARE (PostgreSQL; on SQLite a writer is alone anyway) makes
# set_advisor wait for the write that was let through, and the write wait for a set_advisor that was first.
_OWNER = (
    select(sub_train_jobs.c.id, sub_train_jobs.c.advisor_id)
    .join(trials, trials.c.sub_train_job_id == sub_train_jobs.c.id)
    .where(trials.c.id == bindparam("trial_id"))
    .with_for_update(read=True, of=sub_train_jobs)
)
_FENCE = _OWNER.where(sub_train_jobs.c.advisor_id.is_not_distinct_from(bindparam("owner_id"))).cte("fence")
_IS_OWNED = exists(select(_FENCE.c.id))


class SqlTrialStore(Records, TrialStore):
    def create_trial(
        self,
        *,
        sub_train_job: SubTrainJob,
        no: int,
        worker_id: str | None,
        proposal: Proposal,
        owner_id: str | None,
    ) -> Trial:
        taken = InvalidTrialError(f"The sub train job {sub_train_job.id} has a trial {no} already.")
        values = {
            "id": new_id(),
            "sub_train_job_id": sub_train_job.id,
            "train_job_id": sub_train_job.train_job_id,
            "no": no,
            "model_name": sub_train_job.model_name,
            "model_version": sub_train_job.model_version,
            "worker_id": worker_id,
            "attempt": 1,
            "proposal": proposal,
            "status": TrialStatus.RUNNING,
            "datetime_started": self._db.now(),
        }
        # One statement: it inserts nothing where the owner is another one.
        owned = (
            select(*(literal(value, trials.c[name].type) for name, value in values.items()))
            .where(sub_train_jobs.c.id == sub_train_job.id)
            .where(sub_train_jobs.c.advisor_id.is_not_distinct_from(owner_id))
            .with_for_update(read=True)
        )
        statement = trials.insert().from_select(list(values), owned).returning(*_COLUMNS)
        refusals = Refusals(unique={"uq_trials_sub_train_job_id_no": taken})
        with self._db.write_once(refusals) as connection:
            row = connection.execute(statement).one_or_none()
        if row is None:
            self._check_owner_of_job(sub_train_job.id, owner_id)
            raise InvalidTrialError(f"The trial {no} of the sub train job {sub_train_job.id} was not stored.")
        return to_entity(Trial, row)

    def assign_trial(self, trial_id: str, *, worker_id: str, owner_id: str | None) -> Trial:
        values = {"worker_id": worker_id, "attempt": trials.c.attempt + 1}
        return self._move(trial_id, TrialStatus.RUNNING, owner_id, values)

    def release_trial(self, trial_id: str, *, owner_id: str | None) -> Trial:
        return self._move(trial_id, TrialStatus.PENDING, owner_id, {"worker_id": None})

    def complete_trial(
        self,
        trial_id: str,
        *,
        score: float,
        params_id: str | None,
        owner_id: str | None,
        worker_id: str | None = None,
        attempt: int | None = None,
        ended_early: str | None = None,
    ) -> Trial:
        if not math.isfinite(score):
            raise InvalidTrialError(f"The score of the trial {trial_id} is {score}, not a finite number.")
        values: dict[str, object] = {
            # SQLite keeps a whole REAL as an integer, which has no -0.0; so that PostgreSQL does not either.
            "score": float(score) + 0.0,
            "params_id": params_id,
            "ended_early": ended_early,
            "checkpoint": None,
            "datetime_stopped": self._db.now(),
        }
        if worker_id is not None:
            values["worker_id"] = worker_id
        if attempt is not None:
            values["attempt"] = attempt
        return self._move(trial_id, TrialStatus.COMPLETED, owner_id, values)

    def fail_trial(self, trial_id: str, *, error: str, owner_id: str | None) -> Trial:
        values = {"error": error, "checkpoint": None, "datetime_stopped": self._db.now()}
        return self._move(trial_id, TrialStatus.ERRORED, owner_id, values)

    def set_checkpoint(self, trial_id: str, checkpoint: TrialCheckpoint, *, owner_id: str | None) -> Trial | None:
        statement = (
            update(trials)
            .where(trials.c.id == bindparam("trial_id"))
            .where(trials.c.status == TrialStatus.RUNNING, trials.c.attempt == checkpoint.attempt)
            .where(_IS_OWNED)
            .values(checkpoint=checkpoint)
            .returning(*_COLUMNS)
        )
        parameters = {"trial_id": trial_id, "owner_id": owner_id}
        with self._db.write_once() as connection:
            row = connection.execute(statement, parameters).one_or_none()
        if row is None:
            self._check_owner_of_job(self.get_trial(trial_id).sub_train_job_id, owner_id)
            return None
        return to_entity(Trial, row)

    def list_checkpoint_ids(self) -> list[str]:
        statement = select(trials.c.checkpoint).where(trials.c.checkpoint.is_not(None))
        with self._db.read() as connection:
            return [found.params_id for found in connection.scalars(statement)]

    def has_params(self, sub_train_job_id: str, params_id: str, *, counts_checkpoints: bool) -> bool:
        is_candidate = trials.c.params_id == params_id
        if counts_checkpoints:
            # Few trials have one: those that run.
            is_candidate |= trials.c.checkpoint.is_not(None)
        statement = select(trials.c.params_id, trials.c.checkpoint).where(
            trials.c.sub_train_job_id == sub_train_job_id, is_candidate
        )
        with self._db.read() as connection:
            rows = connection.execute(statement).all()
        return any(params_id in (row.params_id, row.checkpoint and row.checkpoint.params_id) for row in rows)

    def find_used_params(self, params_ids: Collection[str]) -> set[str]:
        with self._db.read() as connection:
            used = connection.scalars(select(trials.c.params_id).where(trials.c.params_id.in_(params_ids))).all()
        return {*used, *set(params_ids).intersection(self.list_checkpoint_ids())}

    def free_params_of(self, params_ids: Mapping[str, str], *, owner_id: str | None = None) -> list[str]:
        is_served = exists(
            select(served_trials.c.trial_id)
            .join(inference_jobs, served_trials.c.inference_job_id == inference_jobs.c.id)
            .where(served_trials.c.trial_id == trials.c.id, inference_job_is_live)
        )
        is_searched = exists(select(train_jobs.c.id).where(train_jobs.c.id == trials.c.train_job_id, train_job_is_live))
        is_owned = exists(
            select(sub_train_jobs.c.id).where(
                sub_train_jobs.c.id == trials.c.sub_train_job_id, sub_train_jobs.c.advisor_id == owner_id
            )
        )
        may = ~is_searched if owner_id is None else is_owned
        mine = [
            tuple_(trials.c.id, trials.c.params_id).in_(list(params_ids.items())),
            trials.c.status == TrialStatus.COMPLETED,
        ]
        with self._db.write() as connection:
            # Locked by a statement of its own: on PostgreSQL only the next one sees what was committed while this one
            # waited, such as an inference job that serves the trial. In one order, as whoever serves several does.
            locked = select(trials.c.id).where(*mine).order_by(trials.c.id).with_for_update()
            if not connection.execute(locked).all():
                return []
            freed = update(trials).where(*mine, ~is_served, may).values(params_id=None).returning(trials.c.id)
            return list(connection.scalars(freed))

    def list_saved_trials(self) -> list[SavedTrial]:
        columns = [
            train_job_is_live.label(name) if name == "is_job_live"
            else train_jobs.c[name] if name in ("app", "app_version")
            else trials.c[name]
            for name in SavedTrial.__struct_fields__
        ]  # fmt: skip
        statement = (
            select(*columns)
            .join(train_jobs, trials.c.train_job_id == train_jobs.c.id)
            .where(trials.c.params_id.is_not(None))
            .order_by(trials.c.sub_train_job_id, *_BEST_FIRST)
        )
        with self._db.read() as connection:
            return [to_entity(SavedTrial, row) for row in connection.execute(statement)]

    def get_trial(self, trial_id: str) -> Trial:
        return self._get(trials, Trial, trial_id, "trial", InvalidTrialError)

    def list_trials(
        self,
        train_job_id: str,
        *,
        status: TrialStatus | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Trial]:
        where = [trials.c.train_job_id == train_job_id]
        if status is not None:
            where.append(trials.c.status == status)
        order = [trials.c.datetime_started, trials.c.no, trials.c.id]
        return self._list(trials, Trial, where, order, offset, limit)

    def list_trials_of_sub_train_job(
        self, sub_train_job_id: str, *, offset: int = 0, limit: int | None = None
    ) -> list[Trial]:
        where = [trials.c.sub_train_job_id == sub_train_job_id]
        return self._list(trials, Trial, where, [trials.c.no], offset, limit)

    def list_new_trials(self, sub_train_job_id: str, *, after_no: int, live_ids: Sequence[str]) -> list[Trial]:
        is_new = trials.c.no > after_no
        may_have_changed = is_new | trials.c.id.in_(live_ids) if live_ids else is_new
        where = [trials.c.sub_train_job_id == sub_train_job_id, may_have_changed]
        return self._list(trials, Trial, where, [trials.c.no])

    def list_saved_trial_ids(self, sub_train_job_id: str) -> set[str]:
        statement = select(trials.c.id).where(
            trials.c.sub_train_job_id == sub_train_job_id, trials.c.params_id.is_not(None)
        )
        with self._db.read() as connection:
            return set(connection.scalars(statement))

    def list_best_trials(self, train_job_id: str, *, max_count: int | None = 2, offset: int = 0) -> list[Trial]:
        return self._list_best(trials.c.train_job_id == train_job_id, max_count, offset)

    def list_best_trials_of_sub_train_job(
        self, sub_train_job_id: str, *, max_count: int | None = 1, offset: int = 0
    ) -> list[Trial]:
        return self._list_best(trials.c.sub_train_job_id == sub_train_job_id, max_count, offset)

    def count_trials(self, sub_train_job_id: str) -> dict[TrialStatus, int]:
        statement = (
            select(trials.c.status, func.count())
            .where(trials.c.sub_train_job_id == sub_train_job_id)
            .group_by(trials.c.status)
        )
        with self._db.read() as connection:
            counted = {TrialStatus(row[0]): int(row[1]) for row in connection.execute(statement)}
        return {status: counted.get(status, 0) for status in TrialStatus}

    def add_trial_logs(self, trial_id: str, entries: Sequence[TrialLog], *, owner_id: str | None) -> None:
        for entry in entries:
            if entry.trial_id != trial_id:
                raise InvalidTrialError(f"A log line of trial {entry.trial_id} came with those of {trial_id}.")
        if not entries:
            return
        # In one order: two deliveries of the same lines at once would deadlock on PostgreSQL otherwise.
        ordered = sorted(entries, key=lambda entry: (entry.attempt, entry.line_no))
        values = [{name: getattr(entry, name) for name in TrialLog.__struct_fields__} for entry in ordered]
        self._add_once(trial_logs, trial_id, values, owner_id)

    def add_trial_report(self, report: TrialReport, *, owner_id: str | None) -> None:
        if not (math.isfinite(report.score) and math.isfinite(report.step)):
            raise InvalidTrialError(f"A report of the trial {report.trial_id} holds a number that is not finite.")
        values = {name: getattr(report, name) for name in TrialReport.__struct_fields__}
        self._add_once(trial_reports, report.trial_id, [values], owner_id)

    def list_trial_reports(self, sub_train_job_id: str) -> list[TrialReport]:
        return self._list_reports(trials.c.sub_train_job_id == sub_train_job_id)

    def list_reports_of_trial(self, trial_id: str) -> list[TrialReport]:
        return self._list_reports(trials.c.id == trial_id)

    def _list_reports(self, where: ColumnElement[bool]) -> list[TrialReport]:
        statement = (
            select(*columns_of(trial_reports, TrialReport))
            .join(trials, (trial_reports.c.trial_id == trials.c.id) & (trial_reports.c.attempt == trials.c.attempt))
            .where(where)
            .order_by(trials.c.no, trial_reports.c.step)
        )
        with self._db.read() as connection:
            return [to_entity(TrialReport, row) for row in connection.execute(statement)]

    def _add_once(
        self, table: Table, trial_id: str, rows: Sequence[Mapping[str, object]], owner_id: str | None
    ) -> None:
        """Add rows of a trial; those whose keys are there already stay as they are."""
        with self._db.write() as connection:
            found = connection.execute(_OWNER, {"trial_id": trial_id}).one_or_none()
            if found is None:
                raise not_found(InvalidTrialError, "trial", trial_id)
            check_owner(found.id, found.advisor_id, owner_id)
            connection.execute(self._insert_new(table), rows)

    def list_trial_logs(
        self, trial_id: str, *, attempt: int | None = None, offset: int = 0, limit: int | None = None
    ) -> list[TrialLog]:
        wanted: ColumnElement[object] | int = (
            select(trials.c.attempt).where(trials.c.id == trial_id).scalar_subquery() if attempt is None else attempt
        )
        where = [trial_logs.c.trial_id == trial_id, trial_logs.c.attempt == wanted]
        return self._list(trial_logs, TrialLog, where, [trial_logs.c.line_no], offset, limit)

    def _list_best(self, where: ColumnElement[bool], max_count: int | None, offset: int) -> list[Trial]:
        return self._list(trials, Trial, [where, trial_can_be_served], _BEST_FIRST, offset, max_count)

    def _move(self, trial_id: str, target: TrialStatus, owner_id: str | None, values: Mapping[str, object]) -> Trial:
        # One statement, fenced as in create_trial.
        statement = (
            update(trials)
            .where(trials.c.id == bindparam("trial_id"))
            .where(trials.c.status.in_(states.sources(states.TRIAL_TRANSITIONS, target)))
            .where(_IS_OWNED)
            .values(status=target, **values)
            .returning(*_COLUMNS)
        )
        parameters = {"trial_id": trial_id, "owner_id": owner_id}
        is_end = states.is_final(states.TRIAL_TRANSITIONS, target)
        with self._db.write() if is_end else self._db.write_once() as connection:
            row = connection.execute(statement, parameters).one_or_none()
            if is_end and row is not None:
                tell_of_trial(connection, to_entity(Trial, row), self._db.now())
        if row is None:
            present = self.get_trial(trial_id)
            self._check_owner_of_job(present.sub_train_job_id, owner_id)
            raise illegal("trial", trial_id, present.status, target)
        return to_entity(Trial, row)

    def _check_owner_of_job(self, sub_train_job_id: str, owner_id: str | None) -> None:
        with self._db.read() as connection:
            wanted = select(sub_train_jobs.c.advisor_id).where(sub_train_jobs.c.id == sub_train_job_id)
            found = connection.execute(wanted).one_or_none()
        if found is None:
            raise not_found(InvalidTrainJobError, "sub train job", sub_train_job_id)
        check_owner(sub_train_job_id, found.advisor_id, owner_id)

    def _insert_new(self, table: Table) -> Executable:
        if self._db.is_sqlite:
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()

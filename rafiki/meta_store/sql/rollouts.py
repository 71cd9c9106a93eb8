"""Updates of deployments in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from rafiki.budget import InferenceBudget
from rafiki.constants import InferenceJobStatus, RolloutKind, RolloutOrder, RolloutStatus, ServingRole
from rafiki.deployment import Deployment
from rafiki.ensembles import EnsembleSummary
from rafiki.entities import InferenceJob, Rollout, TrainJob
from rafiki.errors import (
    InvalidInferenceJobError,
    InvalidRolloutError,
    InvalidRunningInferenceJobError,
    InvalidTrialError,
    RolloutExistsError,
    RunningInferenceJobExistsError,
)
from rafiki.job_events import JobEvent
from rafiki.meta_store.base import RolloutStore
from rafiki.meta_store.sql.database import Parents, Refusals
from rafiki.meta_store.sql.inference_jobs import add_members, hold_params
from rafiki.meta_store.sql.outbox import EVENTS_OF_ROLLOUTS, tell_of_inference_job, tell_of_rollout
from rafiki.meta_store.sql.records import Records, illegal, parts_of, status_change
from rafiki.meta_store.sql.schema import (
    inference_job_is_live,
    inference_job_is_primary,
    inference_jobs,
    rollout_is_live,
    rollouts,
    trials,
)
from rafiki.rollouts import Comparison, RollbackRules
from rafiki.states import ROLLOUT_TRANSITIONS
from rafiki.utils.ids import new_id

_NEWEST_FIRST = [rollouts.c.datetime_started.desc(), rollouts.c.id]


class SqlRolloutStore(Records, RolloutStore):
    def create_rollout(
        self,
        primary: InferenceJob,
        train_job: TrainJob,
        *,
        kind: RolloutKind,
        share: float,
        rules: RollbackRules,
        is_rollback: bool,
        budget: InferenceBudget,
        trial_ids: Sequence[str],
        weights: Sequence[float],
        ensemble: EnsembleSummary,
        labels: Mapping[str, str],
        deployment: Deployment,
    ) -> Rollout:
        refusals = Refusals(
            unique={
                "uq_rollouts_live": RolloutExistsError(
                    f"The app {primary.app!r} is being updated already. `rafiki infer promote {primary.app}` or "
                    f"`rafiki infer rollback {primary.app}` ends that."
                ),
                "pk_served_trials": InvalidInferenceJobError("An inference job cannot serve a trial twice."),
            },
            parents=[Parents(trials, trial_ids, "trial", InvalidTrialError)],
        )
        now = self._db.now()
        with self._db.write(refusals) as connection:
            self._check_places(connection, primary, train_job)
            hold_params(connection, trial_ids)
            job = self._insert(connection, inference_jobs, InferenceJob, {
                "id": new_id(), "user_id": primary.user_id, "train_job_id": train_job.id, "app": train_job.app,
                "app_version": train_job.app_version, "budget": budget, "ensemble": ensemble, "labels": labels,
                "deployment": deployment, "status": InferenceJobStatus.STARTED, "datetime_started": now,
                "front_id": primary.front, "role": ServingRole.CANDIDATE, "predictor_host": primary.predictor_host,
            })  # fmt: skip
            add_members(connection, job.id, trial_ids, weights)
            tell_of_inference_job(connection, JobEvent.INFERENCE_JOB_STARTED, job, now)
            made = self._insert(connection, rollouts, Rollout, {
                "id": new_id(), "user_id": primary.user_id, "app": primary.app, "front_id": primary.front,
                "from_job_id": primary.id, "to_job_id": job.id, "kind": kind, "share": share, "rules": rules,
                "is_rollback": is_rollback, "status": RolloutStatus.STARTED, "comparison": Comparison(),
                "datetime_started": now,
            })  # fmt: skip
            tell_of_rollout(connection, JobEvent.ROLLOUT_STARTED, made, now)
            return made

    def _check_places(self, connection: Connection, primary: InferenceJob, train_job: TrainJob) -> None:
        answers = select(func.count()).where(
            inference_jobs.c.id == primary.id, inference_jobs.c.datetime_stop_requested.is_(None),
            inference_job_is_live, inference_job_is_primary,
        )  # fmt: skip
        if not connection.scalar(answers):
            raise InvalidRunningInferenceJobError(f"The inference job {primary.id} does not answer any more.")
        others = select(func.count()).where(
            inference_jobs.c.train_job_id == train_job.id, inference_job_is_live, inference_job_is_primary,
            inference_jobs.c.id != primary.id,
        )  # fmt: skip
        if connection.scalar(others):
            raise RunningInferenceJobExistsError(
                f"The app {train_job.app!r}, version {train_job.app_version}, is already served at another address. "
                "Stop it first."
            )

    def get_rollout(self, rollout_id: str) -> Rollout:
        return self._get(rollouts, Rollout, rollout_id, "rollout", InvalidRolloutError)

    def find_live_rollout(self, front_id: str) -> Rollout | None:
        return self._find(rollouts, Rollout, rollouts.c.front_id == front_id, rollout_is_live)

    def find_last_promoted(self, to_job_id: str) -> Rollout | None:
        where = [rollouts.c.to_job_id == to_job_id, rollouts.c.status == RolloutStatus.PROMOTED]
        return self._first(*where)

    def find_last_of_job(self, inference_job_id: str) -> Rollout | None:
        return self._first(or_(rollouts.c.from_job_id == inference_job_id, rollouts.c.to_job_id == inference_job_id))

    def _first(self, *where: ColumnElement[bool]) -> Rollout | None:
        return next(iter(self._list(rollouts, Rollout, where, _NEWEST_FIRST, limit=1)), None)

    def list_rollouts(self, user_id: str, app: str) -> list[Rollout]:
        return self._list(rollouts, Rollout, [rollouts.c.user_id == user_id, rollouts.c.app == app], _NEWEST_FIRST)

    def list_live_rollouts(self) -> list[Rollout]:
        return self._list(rollouts, Rollout, [rollout_is_live], [rollouts.c.datetime_started, rollouts.c.id])

    def find_fronts(self, inference_job_ids: Collection[str]) -> dict[str, str]:
        found = {}
        wanted = select(inference_jobs.c.id, inference_jobs.c.front_id)
        with self._db.read() as connection:
            for some in parts_of(inference_job_ids):
                for row in connection.execute(wanted.where(inference_jobs.c.id.in_(some))):
                    found[row.id] = row.front_id or row.id
        return found

    def order_rollout(self, rollout_id: str, order: RolloutOrder) -> Rollout:
        changed = self._update(rollouts, Rollout, [rollouts.c.id == rollout_id, rollout_is_live], {"ordered": order})
        return changed or self.get_rollout(rollout_id)

    def start_rollout(self, rollout_id: str) -> Rollout:
        values = {"status": RolloutStatus.RUNNING, "datetime_ready": self._db.now()}
        where = [rollouts.c.id == rollout_id, rollouts.c.status == RolloutStatus.STARTED]
        changed = self._update(rollouts, Rollout, where, values)
        if changed is None:
            raise illegal("rollout", rollout_id, self.get_rollout(rollout_id).status, RolloutStatus.RUNNING)
        return changed

    def end_rollout(
        self, rollout_id: str, target: RolloutStatus, reason: str | None, comparison: Comparison = Comparison()
    ) -> Rollout:
        now = self._db.now()
        allowed, values = status_change(rollouts, ROLLOUT_TRANSITIONS, target, None, now)
        values |= {"reason": reason, "comparison": comparison}
        with self._db.write() as connection:
            ended = self._update_in(connection, rollouts, Rollout, [rollouts.c.id == rollout_id, allowed], values)
            if ended is not None:
                tell_of_rollout(connection, EVENTS_OF_ROLLOUTS[target], ended, now)
                is_promoted = target is RolloutStatus.PROMOTED
                leaving, staying = ended.to_job_id, ended.from_job_id
                if is_promoted:
                    leaving, staying = staying, leaving
                # First the one that goes: two of one train job cannot both be the first.
                connection.execute(
                    update(inference_jobs).where(inference_jobs.c.id == leaving).values(role=ServingRole.LEAVING)
                )
                connection.execute(
                    update(inference_jobs)
                    .where(inference_jobs.c.id == leaving, inference_jobs.c.datetime_stop_requested.is_(None))
                    .where(inference_job_is_live)
                    .values(datetime_stop_requested=now)
                )
                if is_promoted:
                    connection.execute(
                        update(inference_jobs).where(inference_jobs.c.id == staying).values(role=ServingRole.PRIMARY)
                    )
        if ended is None:
            raise illegal("rollout", rollout_id, self.get_rollout(rollout_id).status, target)
        return ended

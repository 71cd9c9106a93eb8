"""Updates of deployments behind their addresses."""

from __future__ import annotations

import msgspec

from rafiki.admin.context import AdminContext
from rafiki.admin.ensembles import choose_ensemble, setting_of
from rafiki.admin.operation import bind
from rafiki.admin.ops.inference_job_scaling import settle_replicas
from rafiki.budget import InferenceBudget
from rafiki.constants import RolloutKind, RolloutOrder, RolloutStatus, ServingRole
from rafiki.contract.rollouts import (
    GET_ROLLOUTS,
    PROMOTE_INFERENCE_JOB,
    ROLLBACK_INFERENCE_JOB,
    UPDATE_INFERENCE_JOB,
    ListRolloutsRequest,
    RolloutRequest,
    RolloutView,
    UpdateInferenceJobRequest,
)
from rafiki.deployment import Deployment
from rafiki.entities import InferenceJob, Rollout, User
from rafiki.errors import (
    InvalidInferenceJobError,
    InvalidRolloutError,
    InvalidRunningInferenceJobError,
    InvalidTrainJobError,
    InvalidTrialError,
)
from rafiki.rollouts import RollbackRules
from rafiki.states import INFERENCE_JOB_TRANSITIONS, TRAIN_JOB_TRANSITIONS, is_final

_WAIT_S = 30.0


def rollout_view(context: AdminContext, rollout: Rollout) -> RolloutView:
    """An update, with how both versions do while it is under way."""
    jobs = context.store.inference_jobs
    before, after = jobs.get_inference_job(rollout.from_job_id), jobs.get_inference_job(rollout.to_job_id)
    comparison, reason = context.supervisor.find_comparison(rollout.id), None
    if rollout.datetime_stopped is not None:
        comparison = rollout.comparison if rollout.datetime_ready is not None else None
    elif rollout.status is RolloutStatus.STARTED:
        found = (context.supervisor.waits.find(after.id, s.trial_id) for s in jobs.list_served_trials(after.id))
        reason = "; ".join(dict.fromkeys(r for r in found if r is not None)) or None
    return RolloutView(
        id=rollout.id, app=rollout.app, kind=rollout.kind, share=rollout.share, rollback=rollout.rules,
        is_rollback=rollout.is_rollback, status=rollout.status, reason=rollout.reason or reason,
        from_job_id=before.id, from_version=before.app_version, to_job_id=after.id, to_version=after.app_version,
        comparison=comparison, predictor_host=after.predictor_host, datetime_started=rollout.datetime_started,
        datetime_ready=rollout.datetime_ready, datetime_stopped=rollout.datetime_stopped,
    )  # fmt: skip


def find_last_update(context: AdminContext, job: InferenceJob) -> RolloutView | None:
    """The newest update that an inference job takes or took part in."""
    found = context.store.rollouts.find_last_of_job(job.id)
    return None if found is None else rollout_view(context, found)


def update_inference_job(context: AdminContext, actor: User, request: UpdateInferenceJobRequest) -> RolloutView:
    train_job = context.store.train_jobs.get_train_job_of_app(actor.id, request.app, request.app_version)
    primary = _answering(context, actor, request.app, request.deployed_version, train_job.app_version)
    if not is_final(TRAIN_JOB_TRANSITIONS, train_job.status):
        raise InvalidTrainJobError(
            f"The train job {train_job.app} version {train_job.app_version} is still {train_job.status}. Wait for its "
            "end, or stop it with `rafiki train stop`."
        )
    keeps = request.keeps_settings
    budget, deployment = settle_replicas(
        primary.budget if keeps else InferenceBudget(), request.budget,
        _merged(primary.deployment if keeps else Deployment(), request.deployment), request.deployment,
    )  # fmt: skip
    _check_gpus(context, budget)
    setting = request.ensemble
    if setting is None and keeps:
        setting = setting_of(primary.ensemble)
    ensemble = choose_ensemble(context.store, context.params, train_job, setting)
    if not ensemble.trials:
        raise InvalidTrainJobError(
            f"The train job {train_job.app} version {train_job.app_version} has no completed trial to serve."
        )
    for trial in ensemble.trials:
        sub = context.store.train_jobs.get_sub_train_job(trial.sub_train_job_id)
        context.environments.request(context.store.models.get_model(sub.model_id).dependencies)
    rollout = context.store.rollouts.create_rollout(
        primary, train_job, kind=request.kind, share=request.share if request.kind is RolloutKind.CANARY else 0.0,
        rules=_plain(request.rollback), is_rollback=False, budget=budget,
        trial_ids=[t.id for t in ensemble.trials], weights=ensemble.weights, ensemble=ensemble.view,
        labels=request.labels, deployment=deployment,
    )  # fmt: skip
    return _settled(context, rollout, (RolloutStatus.STARTED,))


def promote_inference_job(context: AdminContext, actor: User, request: RolloutRequest) -> RolloutView:
    primary = _answering(context, actor, request.app, request.deployed_version)
    rollout = context.store.rollouts.find_live_rollout(primary.front)
    if rollout is None:
        raise InvalidRolloutError.not_found(
            f"No update of {request.app} is under way. Begin one with `rafiki infer update {request.app}`."
        )
    return _ordered(context, rollout, RolloutOrder.PROMOTE)


def rollback_inference_job(context: AdminContext, actor: User, request: RolloutRequest) -> RolloutView:
    primary = _answering(context, actor, request.app, request.deployed_version)
    if (rollout := context.store.rollouts.find_live_rollout(primary.front)) is not None:
        return _ordered(context, rollout, RolloutOrder.ROLL_BACK)
    last = context.store.rollouts.find_last_promoted(primary.id)
    if last is None:
        raise InvalidRolloutError(
            f"{request.app} version {primary.app_version} was not updated: there is no version before to go back to."
        )
    return _go_back(context, primary, context.store.inference_jobs.get_inference_job(last.from_job_id))


def _go_back(context: AdminContext, primary: InferenceJob, before: InferenceJob) -> RolloutView:
    """Serve again what an inference job of before did: its workers have ended, others are started."""
    served = context.store.inference_jobs.list_served_trials(before.id)
    try:
        rollout = context.store.rollouts.create_rollout(
            primary, context.store.train_jobs.get_train_job(before.train_job_id), kind=RolloutKind.REPLACE, share=0.0,
            rules=RollbackRules(), is_rollback=True, budget=before.budget,
            trial_ids=[s.trial_id for s in served], weights=[s.weight for s in served], ensemble=before.ensemble,
            labels=before.labels, deployment=before.deployment,
        )  # fmt: skip
    except InvalidTrialError as e:
        raise InvalidRolloutError(
            f"Version {before.app_version} cannot be served as before. {e.message} "
            f"`rafiki infer update {before.app} --version {before.app_version}` chooses others."
        ) from e
    return _settled(context, rollout, (RolloutStatus.STARTED,))


def get_rollouts(context: AdminContext, actor: User, request: ListRolloutsRequest) -> list[RolloutView]:
    return [rollout_view(context, r) for r in context.store.rollouts.list_rollouts(actor.id, request.app)]


def _answering(
    context: AdminContext, actor: User, app: str, deployed_version: int | None, wanted_version: int | None = None
) -> InferenceJob:
    """The inference job that answers at the address that is meant.

    Args:
        wanted_version: where this one answers itself, its address is meant.

    Raises:
        InvalidTrainJobError: there is no such app.
        InvalidRunningInferenceJobError: none answers, or several do and none is named.
    """
    context.store.train_jobs.get_train_job_of_app(actor.id, app, -1)
    jobs = context.store.inference_jobs.list_inference_jobs_of_app(actor.id, app)
    live = [
        j for j in jobs
        if not is_final(INFERENCE_JOB_TRANSITIONS, j.status) and j.role is ServingRole.PRIMARY
        and j.datetime_stop_requested is None
    ]  # fmt: skip
    named = [j for j in live if j.app_version == (wanted_version if deployed_version is None else deployed_version)]
    if named:
        return named[0]
    if not live or deployed_version is not None:
        which = f" version {deployed_version}" if deployed_version is not None else ""
        raise InvalidRunningInferenceJobError.not_found(
            f"No inference job of {app}{which} is running. Start one with `rafiki infer create {app}`."
        )
    if len(live) > 1:
        versions = ", ".join(str(j.app_version) for j in sorted(live, key=lambda j: j.app_version))
        raise InvalidRunningInferenceJobError(
            f"Versions {versions} of {app} are served, each at an address of its own. Name one of them "
            "(deployed_version; --deployed)."
        )
    return live[0]


def _ordered(context: AdminContext, rollout: Rollout, order: RolloutOrder) -> RolloutView:
    context.store.rollouts.order_rollout(rollout.id, order)
    return _settled(context, rollout, (RolloutStatus.STARTED, RolloutStatus.RUNNING))


def _settled(context: AdminContext, rollout: Rollout, during: tuple[RolloutStatus, ...]) -> RolloutView:
    """The update once it has left these statuses, and what leaves by it has ended; or as it is after a bounded time."""
    jobs = context.store.inference_jobs

    def is_settled() -> bool:
        found = context.store.rollouts.get_rollout(rollout.id)
        if found.status in during:
            return False
        if found.datetime_stopped is None:
            return True
        leaving = found.from_job_id if found.status is RolloutStatus.PROMOTED else found.to_job_id
        return is_final(INFERENCE_JOB_TRANSITIONS, jobs.get_inference_job(leaving).status)

    context.supervisor.wake()
    context.supervisor.wait_until(is_settled, _WAIT_S)
    return rollout_view(context, context.store.rollouts.get_rollout(rollout.id))


def _plain(rules: RollbackRules | None) -> RollbackRules:
    return RollbackRules() if rules is None else RollbackRules(**msgspec.structs.asdict(rules))


def _merged(before: Deployment, given: Deployment | None) -> Deployment:
    fields = {} if given is None else msgspec.structs.asdict(given)
    return msgspec.structs.replace(before, **{name: value for name, value in fields.items() if value is not None})


def _check_gpus(context: AdminContext, budget: InferenceBudget) -> None:
    if budget.gpu_count > (n := len(context.containers.gpus()) if budget.gpu_count else 0):
        raise InvalidInferenceJobError(f"GPU_COUNT is {budget.gpu_count}, but this stack has {n} GPU(s).")


OPERATIONS = [
    bind(UPDATE_INFERENCE_JOB, update_inference_job),
    bind(PROMOTE_INFERENCE_JOB, promote_inference_job),
    bind(ROLLBACK_INFERENCE_JOB, rollback_inference_job),
    bind(GET_ROLLOUTS, get_rollouts),
]

"""Inference jobs."""

from __future__ import annotations

from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.ensembles import choose_ensemble
from rafiki.admin.operation import bind
from rafiki.admin.ops.inference_job_scaling import check_replicas, scale, scaling_view, sleep_warnings
from rafiki.admin.ops.rollouts import find_last_update
from rafiki.admin.ops.train_jobs import stop_train_jobs
from rafiki.admin.stopping import is_meant, only_of_others, owner_to_stop
from rafiki.budget import InferenceBudget
from rafiki.constants import InferenceJobStatus, ServingRole
from rafiki.contract.endpoint import Empty
from rafiki.contract.inference_jobs import (
    CREATE_INFERENCE_JOB,
    GET_INFERENCE_JOBS_BY_USER,
    GET_INFERENCE_JOBS_OF_APP,
    GET_RUNNING_INFERENCE_JOB,
    PREVIEW_ENSEMBLE,
    SCALE_INFERENCE_JOB,
    STOP_ALL_JOBS,
    STOP_INFERENCE_JOB,
    AppInferenceJobsRequest,
    CreateInferenceJobRequest,
    EnsemblePreviewView,
    InferenceJobCreatedView,
    InferenceJobRequest,
    InferenceJobScaledView,
    InferenceJobStoppedView,
    InferenceJobView,
    ListInferenceJobsRequest,
    LostMemberView,
    PreviewEnsembleRequest,
    ScaleInferenceJobRequest,
    StopInferenceJobRequest,
    StoppedJobsView,
    StoppedJobView,
)
from rafiki.deployment import Deployment
from rafiki.ensembles import EnsembleSetting
from rafiki.entities import InferenceJob, Model, TrainJob, Trial, User
from rafiki.errors import (
    InvalidInferenceJobError,
    InvalidRunningInferenceJobError,
    InvalidTrainJobError,
    RunningInferenceJobExistsError,
)
from rafiki.states import INFERENCE_JOB_TRANSITIONS, TRAIN_JOB_TRANSITIONS, is_final

_START_WAIT_S = 30.0
_STOP_WAIT_S = 30.0


def inference_job_view(context: AdminContext, job: InferenceJob) -> InferenceJobView:
    served = context.store.inference_jobs.list_served_trials(job.id)
    total = sum(s.weight for s in served) or 1.0
    lost = _lost_members(context, job)
    return InferenceJobView(
        id=job.id, status=job.status, error=job.error or _tell_lost(job, lost, len(served)),
        train_job_id=job.train_job_id, app=job.app,
        app_version=job.app_version, budget=job.budget, trial_ids=[s.trial_id for s in served],
        weights=[s.weight / total for s in served], ensemble=job.ensemble,
        deployment=job.deployment, labels=job.labels,
        datetime_started=job.datetime_started, datetime_stopped=job.datetime_stopped,
        predictor_host=job.predictor_host, waits_for=_waits_for(context, job, [s.trial_id for s in served]),
        lost_members=lost, role=job.role, update=find_last_update(context, job), scaling=scaling_view(context, job),
    )  # fmt: skip


def _lost_members(context: AdminContext, job: InferenceJob) -> list[LostMemberView]:
    if is_final(INFERENCE_JOB_TRANSITIONS, job.status):
        return []
    return [
        LostMemberView(
            trial_id=m.trial_id, label=context.store.trials.get_trial(m.trial_id).label, reason=str(m),
            is_serving=m.count < m.of, is_being_replaced=m.is_being_replaced,
        )
        for m in context.supervisor.losses.of_job(job.id)
    ]  # fmt: skip


def _tell_lost(job: InferenceJob, lost: list[LostMemberView], n_served: int) -> str | None:
    """What a job that runs says of members that it lacks, with what to do."""
    if not lost:
        return None
    n_out = sum(not m.is_serving for m in lost)
    told = [f"{n_out} of {n_served} members cannot serve."] if n_out else []
    told += [f"{m.label}: {m.reason.rstrip('.')}." for m in lost]
    if any(m.is_being_replaced for m in lost):
        told.append("Others are being chosen.")
    elif job.deployment.replace_damaged:
        told.append("There is no other trial to take the place.")
    else:
        command = f"rafiki infer create {job.app} --version {job.app_version} --replace --replace-damaged"
        told.append(f"Deployed again with `{command}`, the next best trial takes the place.")
    return " ".join(told)


def _waits_for(context: AdminContext, job: InferenceJob, trial_ids: list[str]) -> str | None:
    """Why members have not begun, each reason once."""
    found = (context.supervisor.waits.find(job.id, trial_id) for trial_id in trial_ids)
    return "; ".join(dict.fromkeys(reason for reason in found if reason is not None)) or None


def create_inference_job(
    context: AdminContext, actor: User, request: CreateInferenceJobRequest
) -> InferenceJobCreatedView:
    budget = request.budget or InferenceBudget()
    if budget.gpu_count > (n := len(context.containers.gpus()) if budget.gpu_count else 0):
        raise InvalidInferenceJobError(f"GPU_COUNT is {budget.gpu_count}, but this stack has {n} GPU(s).")
    check_replicas(budget, request.deployment)
    train_job = _stopped_train_job(context, actor, request)
    ensemble = choose_ensemble(context.store, context.params, train_job, request.ensemble)
    if not ensemble.trials:
        raise InvalidTrainJobError(
            f"The train job {train_job.app} version {train_job.app_version} has no completed trial to serve."
        )
    live = context.store.inference_jobs.find_live_inference_job(train_job.id)
    if request.replace and live is not None:
        # Only now: what cannot take its place must not end what serves.
        _stop_inference_jobs(context, [live])
    elif live is not None and live.role is not ServingRole.PRIMARY:
        raise RunningInferenceJobExistsError(
            f"The app {train_job.app!r}, version {train_job.app_version}, is part of an update already. "
            f"`rafiki infer promote {train_job.app}` or `rafiki infer rollback {train_job.app}` ends that."
        )
    for trial in ensemble.trials:
        context.environments.request(_model_of(context, trial).dependencies)
    job = context.store.inference_jobs.create_inference_job(
        user_id=actor.id, train_job_id=train_job.id, app=train_job.app, app_version=train_job.app_version,
        budget=budget, trial_ids=[t.id for t in ensemble.trials], weights=ensemble.weights,
        ensemble=ensemble.view, labels=request.labels,
        deployment=request.deployment or Deployment(),
    )  # fmt: skip
    context.supervisor.wake()

    def has_started() -> bool:
        return context.store.inference_jobs.get_inference_job(job.id).status is not InferenceJobStatus.STARTED

    # Scripts send queries as soon as this returns.
    context.supervisor.wait_until(has_started, _START_WAIT_S)
    job = context.store.inference_jobs.get_inference_job(job.id)
    return InferenceJobCreatedView(
        id=job.id, train_job_id=job.train_job_id, app=job.app, app_version=job.app_version,
        predictor_host=job.predictor_host, warnings=sleep_warnings(context, job),
    )  # fmt: skip


def _stopped_train_job(
    context: AdminContext, actor: User, request: CreateInferenceJobRequest | PreviewEnsembleRequest
) -> TrainJob:
    job = context.store.train_jobs.get_train_job_of_app(actor.id, request.app, request.app_version)
    if not is_final(TRAIN_JOB_TRANSITIONS, job.status):
        raise InvalidTrainJobError(
            f"The train job {job.app} version {job.app_version} is still {job.status}. Wait for its end, or stop it "
            "with `rafiki train stop`."
        )
    return job


def preview_ensemble(context: AdminContext, actor: User, request: PreviewEnsembleRequest) -> EnsemblePreviewView:
    job = _stopped_train_job(context, actor, request)
    setting = EnsembleSetting(method=request.method, size=request.size)
    found = choose_ensemble(context.store, context.params, job, setting)
    return EnsemblePreviewView(
        trial_ids=[t.id for t in found.trials], weights=found.weights, ensemble=found.view
    )  # fmt: skip


def _model_of(context: AdminContext, trial: Trial) -> Model:
    sub = context.store.train_jobs.get_sub_train_job(trial.sub_train_job_id)
    return context.store.models.get_model(sub.model_id)


def get_inference_jobs_by_user(
    context: AdminContext, actor: User, request: ListInferenceJobsRequest
) -> list[InferenceJobView]:
    user_id = request.user_id or actor.id
    if user_id != actor.id:
        if not is_admin(actor):
            raise InvalidRunningInferenceJobError("Only admins see the inference jobs of other users.")
        context.store.users.get_user(user_id)
    return [inference_job_view(context, j) for j in context.store.inference_jobs.list_inference_jobs(user_id)]


def get_inference_jobs_of_app(
    context: AdminContext, actor: User, request: AppInferenceJobsRequest
) -> list[InferenceJobView]:
    jobs = context.store.inference_jobs.list_inference_jobs_of_app(actor.id, request.app)
    return [inference_job_view(context, j) for j in jobs]


def get_running_inference_job(context: AdminContext, actor: User, request: InferenceJobRequest) -> InferenceJobView:
    return inference_job_view(context, running_job(context, actor, request))


def stop_inference_job(context: AdminContext, actor: User, request: StopInferenceJobRequest) -> InferenceJobStoppedView:
    owner_id = owner_to_stop(context, actor, request)
    try:
        job = _running_job_of(context, owner_id, request.app, request.app_version)
    except InvalidTrainJobError:
        live = context.store.inference_jobs.list_live_inference_jobs()
        found = only_of_others(context, actor, request, [j for j in live if is_meant(j, request)])
        if found is None:
            raise
        job = found
    _stop_inference_jobs(context, [job])
    return InferenceJobStoppedView(id=job.id, train_job_id=job.train_job_id, app=job.app, app_version=job.app_version)


def scale_inference_job(
    context: AdminContext, actor: User, request: ScaleInferenceJobRequest
) -> InferenceJobScaledView:
    job = _running_job_of(context, actor.id, request.app, request.app_version)
    return scale(context, job, request)


def running_job(context: AdminContext, actor: User, request: InferenceJobRequest) -> InferenceJob:
    """The inference job of a version that runs.

    Raises:
        InvalidTrainJobError: there is no such app or version.
        InvalidRunningInferenceJobError: none runs.
    """
    return _running_job_of(context, actor.id, request.app, request.app_version)


def _running_job_of(context: AdminContext, user_id: str, app: str, app_version: int) -> InferenceJob:
    train_job = context.store.train_jobs.get_train_job_of_app(user_id, app, app_version)
    job = context.store.inference_jobs.find_live_inference_job(train_job.id)
    if job is None:
        raise InvalidRunningInferenceJobError.not_found(
            f"No inference job of {train_job.app} version {train_job.app_version} is running. "
            "Start one with `rafiki infer create`."
        )
    return job


def newest_live_job(context: AdminContext, actor: User, app: str) -> InferenceJob | None:
    """The running inference job of the newest version of an app that has one; one that answers before others."""
    jobs = context.store.inference_jobs.list_inference_jobs_of_app(actor.id, app)
    live = [j for j in jobs if not is_final(INFERENCE_JOB_TRANSITIONS, j.status)]
    return max(live, key=lambda j: (j.role is ServingRole.PRIMARY, j.app_version), default=None)


def _stop_inference_jobs(context: AdminContext, jobs: list[InferenceJob]) -> None:
    for job in jobs:
        context.store.inference_jobs.request_inference_job_stop(job.id)
    context.supervisor.wake()

    def have_ended() -> bool:
        store = context.store.inference_jobs
        return all(is_final(INFERENCE_JOB_TRANSITIONS, store.get_inference_job(j.id).status) for j in jobs)

    context.supervisor.wait_until(have_ended, _STOP_WAIT_S)


def stop_jobs_of(context: AdminContext, user_id: str) -> None:
    """Stop every live job of a user, and wait a bounded time until they have stopped."""
    training = [j for j in context.store.train_jobs.list_live_train_jobs() if j.user_id == user_id]
    serving = [j for j in context.store.inference_jobs.list_live_inference_jobs() if j.user_id == user_id]
    if training:
        stop_train_jobs(context, training)
    if serving:
        _stop_inference_jobs(context, serving)


def stop_all_jobs(context: AdminContext, actor: User, request: Empty) -> StoppedJobsView:
    train_jobs = context.store.train_jobs.list_live_train_jobs()
    inference_jobs = context.store.inference_jobs.list_live_inference_jobs()
    stop_train_jobs(context, train_jobs)
    _stop_inference_jobs(context, inference_jobs)
    return StoppedJobsView(
        train_jobs=[StoppedJobView(id=j.id, app=j.app, app_version=j.app_version) for j in train_jobs],
        inference_jobs=[StoppedJobView(id=j.id, app=j.app, app_version=j.app_version) for j in inference_jobs],
    )


OPERATIONS = [
    bind(CREATE_INFERENCE_JOB, create_inference_job),
    bind(PREVIEW_ENSEMBLE, preview_ensemble),
    bind(GET_INFERENCE_JOBS_BY_USER, get_inference_jobs_by_user),
    bind(GET_INFERENCE_JOBS_OF_APP, get_inference_jobs_of_app),
    bind(GET_RUNNING_INFERENCE_JOB, get_running_inference_job),
    bind(STOP_INFERENCE_JOB, stop_inference_job),
    bind(SCALE_INFERENCE_JOB, scale_inference_job),
    bind(STOP_ALL_JOBS, stop_all_jobs),
]

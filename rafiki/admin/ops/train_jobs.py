"""Train jobs."""

from __future__ import annotations

import contextlib

import msgspec

from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.observed import is_live
from rafiki.admin.operation import bind
from rafiki.admin.ops.datasets import check_name, own_dataset
from rafiki.admin.ops.models import available_models, usable_model
from rafiki.admin.stopping import is_meant, only_of_others, owner_to_stop
from rafiki.advisor.setting import check_setting
from rafiki.budget import TrainBudget
from rafiki.constants import CAN_CHANGE, ServiceType
from rafiki.contract.train_jobs import (
    CREATE_TRAIN_JOB,
    GET_TRAIN_JOB,
    GET_TRAIN_JOBS_BY_USER,
    GET_TRAIN_JOBS_OF_APP,
    STOP_TRAIN_JOB,
    AppTrainJobsRequest,
    CreateTrainJobRequest,
    ListTrainJobsRequest,
    StopTrainJobRequest,
    SubTrainJobView,
    TrainJobCreatedView,
    TrainJobRequest,
    TrainJobView,
)
from rafiki.entities import Dataset, Model, SubTrainJob, TrainJob, User
from rafiki.environments.state import EnvironmentStatus
from rafiki.errors import (
    ContainerError,
    InvalidDatasetError,
    InvalidModelError,
    InvalidRequestError,
    InvalidTrainJobError,
    NoModelsForTrainJobError,
)
from rafiki.model.knobs import from_knob_specs
from rafiki.search_setting import AdvisorSetting, parse_setting
from rafiki.states import TRAIN_JOB_TRANSITIONS, find_outcome, is_final
from rafiki.tasks.registry import get_task
from rafiki.utils.values import JsonObject

_STOP_WAIT_S = 30.0
_MOST_TIME_HOURS = 87_600.0
"""The end of a job has to be a date that the calendar holds."""


def train_job_view(context: AdminContext, job: TrainJob) -> TrainJobView:
    subs = context.store.train_jobs.list_sub_train_jobs(job.id)
    models = [
        SubTrainJobView(
            id=s.id, model_id=s.model_id, model_name=s.model_name, model_version=s.model_version, status=s.status,
            error=s.error,
            waits_for=_waits_for(context, job, s),
        )
        for s in subs
    ]  # fmt: skip
    return TrainJobView(
        id=job.id, user_id=job.user_id, status=job.status, error=job.error, app=job.app,
        app_version=job.app_version, task=job.task, train_dataset_id=job.train_dataset_id,
        val_dataset_id=job.val_dataset_id, train_args=job.train_args, advisor=job.advisor, labels=job.labels,
        budget=job.budget, models=models,
        datetime_started=job.datetime_started, datetime_stopped=job.datetime_stopped,
        datetime_stop_requested=job.datetime_stop_requested,
        outcome=find_outcome(job.status, job.datetime_stop_requested),
    )  # fmt: skip


def _notes_of(context: AdminContext, model: Model) -> list[str]:
    """A job runs in the image that was recorded, whatever its tag means by now; that it means another one is told."""
    if model.docker_image is None or model.image_digest is None:
        return []
    with contextlib.suppress(ContainerError):
        if change := context.containers.find_image_change(model.docker_image, model.image_digest):
            return [f"{model.ref}: {change}"]
    return []


def _waits_for(context: AdminContext, job: TrainJob, sub: SubTrainJob) -> str | None:
    if is_final(TRAIN_JOB_TRANSITIONS, sub.status):
        return None
    model = context.store.models.get_model(sub.model_id)
    state = context.environments.look_for_workers(model.dependencies, model.docker_image)
    if state.status is EnvironmentStatus.BUILDING:
        return f"the packages that the model depends on are being installed: `rafiki environment log {state.key}`"
    check = context.checks.look(model, job.datetime_started)
    if check is not None and check.is_checking:
        return (
            f"whether the model loads is checked again, now with up to {context.checks.longer_timeout_s:g} s; before: "
            f"{check.reason}"
        )
    waited_for = context.supervisor.waits.find(job.id, sub.id) or _waits_on_a_host(context, job, sub)
    return waited_for or context.disk.find_shortage()


def _waits_on_a_host(context: AdminContext, job: TrainJob, sub: SubTrainJob) -> str | None:
    """What keeps all of its workers from beginning that were started: an image that comes, a node that takes none."""
    live = [s for s in context.store.services.list_services(job.id) if s.unit_id == sub.id and is_live(s)]
    workers = [s.id for s in live if s.service_type is ServiceType.TRAIN]
    waiting = context.containers.find_waiting(workers)
    return next(iter(waiting.values())) if waiting and len(waiting) == len(workers) else None


def create_train_job(context: AdminContext, actor: User, request: CreateTrainJobRequest) -> TrainJobCreatedView:
    check_name("app", request.app)
    check_name("task", request.task)
    budget = request.budget
    _check_gpus(context, budget)
    if budget.time_hours > _MOST_TIME_HOURS:
        raise InvalidTrainJobError(f"Budget: TIME_HOURS must be {_MOST_TIME_HOURS:g} (ten years) or less.")
    _check_train_args(request.train_args or {})
    datasets = []
    for field, dataset_id in (
        ("train_dataset_id", request.train_dataset_id),
        ("val_dataset_id", request.val_dataset_id),
    ):
        try:
            dataset = own_dataset(context, actor, dataset_id)
        except InvalidDatasetError as e:
            raise InvalidDatasetError(f"Field {field!r}: {e.message}") from e
        if dataset.task != request.task:
            raise InvalidDatasetError(
                f"Field {field!r}: the dataset {dataset.name!r} is for {dataset.task}, not for {request.task}."
            )
        datasets.append(dataset)
    given = request.advisor
    setting = given if isinstance(given, AdvisorSetting) else parse_setting(given)
    models = _choose_models(context, actor, request)
    for model in models:
        _check_setting(setting, model)
    train, val = datasets
    told = _compare(context, request.task, train, val, request.train_args or {})
    for model in models:
        # What failed for an earlier job is tried again for this one.
        context.environments.request(model.dependencies)
    job = context.store.train_jobs.create_train_job(
        user_id=actor.id, app=request.app, task=request.task, train_dataset_id=request.train_dataset_id,
        val_dataset_id=request.val_dataset_id, budget=budget, train_args=request.train_args or {},
        models=models, advisor=setting, labels=request.labels, error=_why_it_cannot_run(models),
    )  # fmt: skip
    context.supervisor.wake()
    notes = [*told, *(note for model in models for note in _notes_of(context, model))]
    return TrainJobCreatedView(id=job.id, app=job.app, app_version=job.app_version, notes=notes)


def _compare(context: AdminContext, task: str, train: Dataset, val: Dataset, train_args: JsonObject) -> list[str]:
    """What people should know of the two datasets before they spend a budget on them.

    Raises:
        InvalidDatasetError: no trial could succeed with them.
    """
    rules = get_task(task)
    if not rules.compares_datasets:
        return []
    train_path, val_path = (context.datasets.get_path(dataset.store_id) for dataset in (train, val))
    return rules.check_pair(train_path, val_path, train_args, are_same=train.sha256 == val.sha256)


def _check_setting(setting: AdvisorSetting, model: Model) -> None:
    """Whether the model's knobs can be searched as the job says."""
    if model.knob_config is None:
        return
    try:
        check_setting(setting, from_knob_specs(model.knob_config), model.knob_constraints)
    except InvalidTrainJobError as e:
        raise InvalidTrainJobError(f"Field 'advisor', model {model.ref!r}: {e.message}") from e


def _check_gpus(context: AdminContext, budget: TrainBudget) -> None:
    if budget.gpu_count and budget.gpu_count > (n := len(context.containers.gpus())):
        raise InvalidTrainJobError(
            f"GPU_COUNT is {budget.gpu_count}, but this stack has {n} GPU(s). Lower it, or list the machine's GPUs "
            "under container.gpus in rafiki.yaml; `rafiki node list` shows those of every node."
        )


def _check_train_args(train_args: JsonObject) -> None:
    """They travel to the workers as msgpack, which holds less than JSON."""
    try:
        msgspec.msgpack.encode(train_args)
    except OverflowError as e:
        raise InvalidRequestError("Field 'train_args': integers of more than 64 bits cannot be passed on.") from e


def _choose_models(context: AdminContext, actor: User, request: CreateTrainJobRequest) -> list[Model]:
    if request.model_ids is None:
        available = [m for m in available_models(context, actor) if m.task == request.task]
        # Somebody's broken public model must not stop everybody's jobs that did not ask for it.
        models = [m for m in available if m.knob_config is not None] or available
    else:
        try:
            models = [usable_model(context, actor, model_id) for model_id in dict.fromkeys(request.model_ids)]
        except InvalidModelError as e:
            raise InvalidModelError(f"Field 'model_ids': {e.message}") from e
        for model in models:
            if model.task != request.task:
                raise InvalidModelError(f"The model {model.ref!r} is for {model.task}, not for {request.task}.")
    if request.model_ids == []:
        raise NoModelsForTrainJobError(
            "Field 'model_ids' is empty. Name models, or leave it out for all available ones."
        )
    if not models:
        raise NoModelsForTrainJobError(
            f"No model is available for {request.task}. Upload one with `rafiki model upload`."
        )
    return models


def _why_it_cannot_run(models: list[Model]) -> str | None:
    """A model file that does not load is accepted at upload, and makes a job that uses it ERRORED."""
    # What a busy machine or a failed installation kept from loading is checked again before the job is given up.
    broken = [m for m in models if m.load_error is not None and m.load_failure not in CAN_CHANGE]
    return "; ".join(f"The model {m.ref!r} does not load: {m.load_error}" for m in broken) or None


def get_train_jobs_by_user(context: AdminContext, actor: User, request: ListTrainJobsRequest) -> list[TrainJobView]:
    user_id = request.user_id or actor.id
    if user_id != actor.id:
        if not is_admin(actor):
            raise InvalidTrainJobError("Only admins see the train jobs of other users.")
        context.store.users.get_user(user_id)
    return [train_job_view(context, j) for j in context.store.train_jobs.list_train_jobs(user_id)]


def get_train_jobs_of_app(context: AdminContext, actor: User, request: AppTrainJobsRequest) -> list[TrainJobView]:
    jobs = context.store.train_jobs.list_train_jobs_of_app(actor.id, request.app)
    return [train_job_view(context, j) for j in jobs]


def get_train_job(context: AdminContext, actor: User, request: TrainJobRequest) -> TrainJobView:
    job = context.store.train_jobs.get_train_job_of_app(actor.id, request.app, request.app_version)
    return train_job_view(context, job)


def stop_train_job(context: AdminContext, actor: User, request: StopTrainJobRequest) -> TrainJobCreatedView:
    owner_id = owner_to_stop(context, actor, request)
    try:
        job = context.store.train_jobs.get_train_job_of_app(owner_id, request.app, request.app_version)
    except InvalidTrainJobError:
        live = context.store.train_jobs.list_live_train_jobs()
        found = only_of_others(context, actor, request, [j for j in live if is_meant(j, request)])
        if found is None:
            raise
        job = found
    stop_train_jobs(context, [job])
    return TrainJobCreatedView(id=job.id, app=job.app, app_version=job.app_version)


def stop_train_jobs(context: AdminContext, jobs: list[TrainJob]) -> None:
    """Stop jobs, and wait a bounded time until they have stopped: whoever called may want to deploy next."""
    for job in jobs:
        if not is_final(TRAIN_JOB_TRANSITIONS, context.store.train_jobs.request_train_job_stop(job.id).status):
            context.supervisor.announce_stop(job.id)
    context.supervisor.wake()

    def have_ended() -> bool:
        return all(is_final(TRAIN_JOB_TRANSITIONS, context.store.train_jobs.get_train_job(j.id).status) for j in jobs)

    context.supervisor.wait_until(have_ended, _STOP_WAIT_S)


OPERATIONS = [
    bind(CREATE_TRAIN_JOB, create_train_job),
    bind(GET_TRAIN_JOBS_BY_USER, get_train_jobs_by_user),
    bind(GET_TRAIN_JOBS_OF_APP, get_train_jobs_of_app),
    bind(GET_TRAIN_JOB, get_train_job),
    bind(STOP_TRAIN_JOB, stop_train_job),
]

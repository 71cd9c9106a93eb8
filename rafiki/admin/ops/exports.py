"""Exports."""

from __future__ import annotations

import platform

import msgspec

import rafiki
from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.ensembles import choose_ensemble
from rafiki.admin.examples import read_examples
from rafiki.admin.operation import bind
from rafiki.admin.ops.inference_jobs import newest_live_job
from rafiki.admin.ops.trials import params_are_gone
from rafiki.config import package_environment
from rafiki.contract.exports import GET_EXPORT, ExportMemberView, ExportModelView, ExportRequest, ExportView
from rafiki.ensembles import EnsembleSetting, EnsembleSummary
from rafiki.entities import InferenceJob, Model, TrainJob, Trial, User
from rafiki.environments.list_packages import PackagesRequest, list_packages
from rafiki.environments.state import EnvironmentStatus
from rafiki.errors import InvalidInferenceJobError, InvalidModelError, InvalidTrainJobError, InvalidTrialError
from rafiki.states import INFERENCE_JOB_TRANSITIONS, TRAIN_JOB_TRANSITIONS, is_final

ENGINE_PACKAGES = ["msgspec", "numpy", "pillow", "safetensors"]
"""What Rafiki's part of an export imports."""


class _Chosen(msgspec.Struct, frozen=True, kw_only=True):
    trials: list[Trial]
    weights: list[float]
    view: EnsembleSummary
    inference_job: InferenceJob | None = None


def get_export(context: AdminContext, actor: User, request: ExportRequest) -> ExportView:
    job = context.store.train_jobs.get_train_job_of_app(actor.id, request.app, request.app_version)
    if request.app_version == -1 and (served := _last_deployed(context, actor, request)) is not None:
        job = context.store.train_jobs.get_train_job(served.train_job_id)
    chosen = _choose(context, job, request)
    subs = {s.id: s.model_id for s in context.store.train_jobs.list_sub_train_jobs(job.id)}
    members = [
        ExportMemberView(
            trial_id=t.id, no=t.no, model_id=subs[t.sub_train_job_id], model_name=t.model_name,
            model_version=t.model_version, knobs=t.proposal.knobs, score=t.score,
            weight=weight / sum(chosen.weights), params_sha256=_sha256_of(t),
        )
        for t, weight in zip(chosen.trials, chosen.weights, strict=True)
    ]  # fmt: skip
    models = [_model_view(context, actor, m) for m in dict.fromkeys(member.model_id for member in members)]
    served = chosen.inference_job
    is_live = served is not None and not is_final(INFERENCE_JOB_TRANSITIONS, served.status)
    return ExportView(
        app=job.app, app_version=job.app_version, train_job_id=job.id, task=job.task,
        rafiki_version=rafiki.__version__, python_version=".".join(platform.python_version_tuple()[:2]),
        inference_job_id=served.id if served else None,
        predictor_host=served.predictor_host if served and is_live else None,
        ensemble=chosen.view, members=members, models=models,
        examples=read_examples(context, job, request.max_examples),
    )  # fmt: skip


def _last_deployed(context: AdminContext, actor: User, request: ExportRequest) -> InferenceJob | None:
    """The inference job whose version is meant where none is named: the one that runs, else the last that ran."""
    if request.trial_id is not None or request.method is not None or request.size is not None:
        return None
    if live := newest_live_job(context, actor, request.app):
        return live
    jobs = context.store.inference_jobs.list_inference_jobs_of_app(actor.id, request.app)
    return jobs[0] if jobs else None


def _choose(context: AdminContext, job: TrainJob, request: ExportRequest) -> _Chosen:
    if request.trial_id is not None:
        if request.method is not None or request.size is not None:
            raise InvalidInferenceJobError("Give either a trial, or how to choose several.")
        trial = context.store.trials.get_trial(request.trial_id)
        if trial.train_job_id != job.id:
            raise InvalidTrialError(f"{request.trial_id!r} is no trial of {job.app} version {job.app_version}.")
        return _Chosen(trials=[trial], weights=[1.0], view=EnsembleSummary(size=1))
    if request.method is None and request.size is None and (served := _last_served(context, job)) is not None:
        return served
    if not is_final(TRAIN_JOB_TRANSITIONS, job.status):
        raise InvalidTrainJobError(
            f"The train job {job.app} version {job.app_version} is still {job.status}. Wait for its end, or export "
            "one of its trials."
        )
    setting = None
    if request.method is not None or request.size is not None:
        setting = EnsembleSetting(method=request.method or EnsembleSetting().method, size=request.size)
    ensemble = choose_ensemble(context.store, context.params, job, setting)
    if not ensemble.trials:
        raise InvalidTrainJobError(
            f"The train job {job.app} version {job.app_version} has no completed trial to export."
        )
    return _Chosen(trials=ensemble.trials, weights=ensemble.weights, view=ensemble.view)


def _last_served(context: AdminContext, job: TrainJob) -> _Chosen | None:
    """The members of the job's latest deployment; None when there was none, or their parameters are not kept."""
    jobs = context.store.inference_jobs.list_inference_jobs_of_app(job.user_id, job.app)
    for served in jobs:
        if served.train_job_id != job.id:
            continue
        members = context.store.inference_jobs.list_served_trials(served.id)
        trials = [context.store.trials.get_trial(m.trial_id) for m in members]
        if not trials or any(t.params_id is None for t in trials):
            return None
        view = served.ensemble
        return _Chosen(trials=trials, weights=[m.weight for m in members], view=view, inference_job=served)
    return None


def _sha256_of(trial: Trial) -> str:
    if trial.params_id is None:
        raise params_are_gone(trial)
    return trial.params_id.partition(".")[2]


def _model_view(context: AdminContext, actor: User, model_id: str) -> ExportModelView:
    model = context.store.models.get_model(model_id)
    if model.user_id != actor.id and not is_admin(actor):
        raise InvalidModelError(
            f"The model {model.ref!r} belongs to another user, who shares it for training and serving, but not its "
            "file. Have its owner or an admin train and export it, or choose trials of your own models."
        )
    return ExportModelView(
        id=model.id, name=model.name, version=model.version, model_class=model.model_class,
        file_sha256=model.model_file_sha256, dependencies=model.dependencies, packages=_packages(context, model),
    )  # fmt: skip


def _packages(context: AdminContext, model: Model) -> dict[str, str]:
    environment = context.environments.wait(model.dependencies)
    if environment.status is not EnvironmentStatus.READY:
        raise InvalidModelError(f"The model {model.ref!r} cannot run here: {environment.reason}")
    source = context.store.models.read_model_file(model.id)
    names = [*ENGINE_PACKAGES, *model.dependencies]
    return list_packages(
        PackagesRequest(source=source, names=names), package_environment(), environment.python, context.sandbox
    )


OPERATIONS = [
    bind(GET_EXPORT, get_export),
]

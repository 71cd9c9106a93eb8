"""Trials."""

from __future__ import annotations

from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.operation import bind
from rafiki.constants import TrialStatus
from rafiki.contract.train_jobs import (
    GET_TRIAL,
    GET_TRIAL_LOGS,
    GET_TRIAL_PARAMETERS,
    GET_TRIALS_OF_TRAIN_JOB,
    ListTrialsRequest,
    TrialLogsView,
    TrialRequest,
    TrialView,
)
from rafiki.entities import Trial, User
from rafiki.errors import InvalidRequestError, InvalidTrialError
from rafiki.model.logs import parse_logs


def trial_view(t: Trial) -> TrialView:
    return TrialView(
        id=t.id, train_job_id=t.train_job_id, no=t.no, worker_id=t.worker_id, attempt=t.attempt, proposal=t.proposal,
        status=t.status, score=t.score, ended_early=t.ended_early, error=t.error, model_name=t.model_name,
        model_version=t.model_version, is_params_saved=t.is_params_saved,
        datetime_started=t.datetime_started, datetime_stopped=t.datetime_stopped,
    )  # fmt: skip


def get_trials_of_train_job(context: AdminContext, actor: User, request: ListTrialsRequest) -> list[TrialView]:
    if request.offset < 0 or request.max_count < 0 or (request.limit is not None and request.limit < 0):
        raise InvalidRequestError("Fields 'offset', 'limit' and 'max_count' must not be negative.")
    job = context.store.train_jobs.get_train_job_of_app(actor.id, request.app, request.app_version)
    match request.type:
        case "best":
            trials = context.store.trials.list_best_trials(job.id, max_count=request.max_count)
        case None:
            trials = context.store.trials.list_trials(job.id, offset=request.offset, limit=request.limit)
        case other:
            raise InvalidRequestError(f"Field 'type': must be 'best' or left out, not {other!r}.")
    return [trial_view(t) for t in trials]


def get_trial(context: AdminContext, actor: User, request: TrialRequest) -> TrialView:
    return trial_view(own_trial(context, actor, request.trial_id))


def get_trial_logs(context: AdminContext, actor: User, request: TrialRequest) -> TrialLogsView:
    trial = own_trial(context, actor, request.trial_id)
    return parse_logs(line.entry for line in context.store.trials.list_trial_logs(trial.id))


def get_trial_parameters(context: AdminContext, actor: User, request: TrialRequest) -> bytes:
    trial = own_trial(context, actor, request.trial_id)
    if trial.params_id is None:
        raise params_are_gone(trial)
    return context.params.read_bytes(trial.params_id)


def params_are_gone(trial: Trial) -> InvalidTrialError:
    """Why a trial without parameters has none."""
    if trial.status is not TrialStatus.COMPLETED:
        return InvalidTrialError(f"Trial {trial.no} has no saved parameters (it is {trial.status}).")
    return InvalidTrialError(
        f"The parameters of the trial {trial.label} are not kept any more: `rafiki gc` frees those of "
        "trials that are neither among the best nor deployed. Train again with its knobs to have them back."
    )


def own_trial(context: AdminContext, actor: User, trial_id: str) -> Trial:
    trial = context.store.trials.get_trial(trial_id)
    job = context.store.train_jobs.get_train_job(trial.train_job_id)
    if job.user_id != actor.id and not is_admin(actor):
        raise InvalidTrialError.not_found(f"You have no trial {trial_id!r}.")
    return trial


OPERATIONS = [
    bind(GET_TRIALS_OF_TRAIN_JOB, get_trials_of_train_job),
    bind(GET_TRIAL, get_trial),
    bind(GET_TRIAL_LOGS, get_trial_logs),
    bind(GET_TRIAL_PARAMETERS, get_trial_parameters),
]

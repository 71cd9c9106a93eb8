"""Which trials an inference job serves, and how much each counts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import msgspec

from rafiki.admin.select_members import NO_PREDICTIONS, SelectAnswer, SelectRequest, unscored
from rafiki.constants import EnsembleMethod
from rafiki.ensembles import EnsembleSetting, EnsembleSummary
from rafiki.entities import TrainJob, Trial
from rafiki.errors import InvalidInferenceJobError
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.tasks.registry import get_task
from rafiki.tasks.validation import CombiningTask
from rafiki.utils.request_process import RequestProcessError, ask_process

_logger = logging.getLogger(__name__)

DEFAULT_SIZE = 5
_MOST_CANDIDATES_OF_A_MODEL = 10
_MOST_CANDIDATES = 50
_TIMEOUT_S = 60.0


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """The members of an inference job, best first; none when the train job has no trial to serve."""

    trials: list[Trial]
    weights: list[float]
    """They sum up to 1."""
    view: EnsembleSummary


def choose_ensemble(
    store: MetaStore,
    params: ParamStore,
    job: TrainJob,
    setting: EnsembleSetting | None,
    *,
    without: Collection[str] = frozenset(),
) -> Ensemble:
    """The trials of a train job that has ended which an inference job shall serve.

    Args:
        store: where the trials are.
        params: where their predictions for validation data are.
        job: the train job.
        setting: how to choose; None = the best trial of each model, at once: nothing is scored.
        without: trials that are not to be served.

    Raises:
        InvalidInferenceJobError: the setting is at odds with itself or with the task.
    """
    is_scored = setting is not None and isinstance(get_task(job.task), CombiningTask)
    setting = setting or EnsembleSetting()
    size = _checked_size(setting, job)
    subs = store.train_jobs.list_sub_train_jobs(job.id)
    n_out = len(without)
    n_each = max(1, min(_MOST_CANDIDATES_OF_A_MODEL, _MOST_CANDIDATES // max(1, len(subs))))
    of_models = [
        _left(store.trials.list_best_trials_of_sub_train_job(s.id, max_count=n_each + n_out), without)[:n_each]
        for s in subs
    ]
    match setting.method:
        case EnsembleMethod.MEAN if size is None:
            members = _best_first([trials[:1] for trials in of_models])
        case EnsembleMethod.MEAN:
            members = _left(store.trials.list_best_trials(job.id, max_count=(size or 1) + n_out), without)[:size]
        case EnsembleMethod.BEST | EnsembleMethod.GREEDY:
            members = _left(store.trials.list_best_trials(job.id, max_count=1 + n_out), without)[:1]
    if not members:
        return Ensemble(trials=[], weights=[], view=EnsembleSummary(method=setting.method, size=size))
    if not is_scored:
        weights = [1 / len(members)] * len(members)
        return Ensemble(trials=members, weights=weights, view=EnsembleSummary(method=setting.method, size=size))
    known = {t.id for t in members}
    # The best trial is a member by every method, so it stays the first one.
    candidates = _best_first([members, *([t for t in trials if t.id not in known] for trials in of_models)])
    request = SelectRequest(
        task=job.task, params=params.location, params_ids=[t.params_id or "" for t in candidates],
        max_members=size or 0 if setting.method is EnsembleMethod.GREEDY else 0,
        given=[i for i, trial in enumerate(candidates) if trial.id in known],
    )  # fmt: skip
    return _to_ensemble(setting.method, size, job.task, candidates, _ask(params, request))


def _left(trials: list[Trial], without: Collection[str]) -> list[Trial]:
    return [t for t in trials if t.id not in without]


def _checked_size(setting: EnsembleSetting, job: TrainJob) -> int | None:
    match setting.method:
        case EnsembleMethod.BEST:
            if setting.size not in (None, 1):
                raise InvalidInferenceJobError(
                    f"The method best serves one trial, not {setting.size}. Leave the size out, or take another method."
                )
            return 1
        case EnsembleMethod.GREEDY:
            if not isinstance(get_task(job.task), CombiningTask):
                raise InvalidInferenceJobError(
                    f"Predictions of {job.task} are not joined: the best member answers alone, so there is nothing to "
                    "choose. Use the method best, or mean to keep more members in reserve."
                )
            return setting.size or DEFAULT_SIZE
        case EnsembleMethod.MEAN:
            return setting.size


def _best_first(parts: Sequence[Sequence[Trial]]) -> list[Trial]:
    return sorted((t for trials in parts for t in trials), key=lambda t: t.score or 0.0, reverse=True)


def _to_ensemble(
    method: EnsembleMethod, size: int | None, task_name: str, candidates: list[Trial], found: SelectAnswer
) -> Ensemble:
    task = get_task(task_name)
    places = sorted(found.weights)
    is_scored = found.score is not None and isinstance(task, CombiningTask)
    view = EnsembleSummary(
        method=method,
        size=size,
        metric=task.metric if is_scored and isinstance(task, CombiningTask) else None,
        validation_score=found.score,
        best_single_score=found.best_single_score,
        member_scores=[found.single_scores[i] for i in places] if is_scored else [],
        subset_scores=found.subset_scores if is_scored else {},
        n_examples=found.n_examples,
        note=found.note if method is EnsembleMethod.GREEDY else None,
    )
    return Ensemble(trials=[candidates[i] for i in places], weights=[found.weights[i] for i in places], view=view)


def _ask(params: ParamStore, request: SelectRequest) -> SelectAnswer:
    """The answer of a process of its own: what it loads (numpy, predictions) goes with it."""
    if not params.has_validation(request.params_ids[0]):
        return unscored(request, NO_PREDICTIONS)
    try:
        return ask_process("rafiki.admin.select_members", request, SelectAnswer, _TIMEOUT_S)
    except RequestProcessError as e:
        _logger.error("choosing an ensemble failed: %s", e)
    return unscored(request, "Choosing members failed; the admin's log tells why.")


def setting_of(summary: EnsembleSummary) -> EnsembleSetting | None:
    """What members were chosen by; None = the best trial of each model, at once."""
    if summary.method is EnsembleMethod.MEAN and summary.size is None and summary.validation_score is None:
        return None
    return EnsembleSetting(method=summary.method, size=summary.size)

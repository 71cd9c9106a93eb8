"""Budgets of train and inference jobs: parsing with clear refusals, and the number of trials they allow."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from rafiki.constants import BudgetOption, InferenceBudgetOption
from rafiki.errors import InvalidInferenceJobError, InvalidTrainJobError, RafikiError
from rafiki.utils.nearest import ROUGHLY_ALIKE, find_nearest

UNLIMITED_TRIALS = -1
MAX_CPU_WORKERS = 256
MAX_REPLICAS = 256
MAX_WORKERS_PER_GPU = 64

_MOST_WARNINGS = 20
_logger = logging.getLogger(__name__)
_Refusal: TypeAlias = Callable[[str], RafikiError]


class TrainBudget(msgspec.Struct, frozen=True, rename="upper"):
    """What a train job may spend. In JSON its fields have the names of :class:`~rafiki.constants.BudgetOption`."""

    time_hours: Annotated[float, Meta(gt=0)] = 0.1
    """Hours of wall-clock time for the whole train job, above 0."""
    gpu_count: Annotated[int, Meta(ge=0)] = 0
    """GPUs over all models of the job."""
    model_trial_count: Annotated[int, Meta(ge=UNLIMITED_TRIALS)] = UNLIMITED_TRIALS
    """Trials of each model; -1 is unlimited."""
    cpu_worker_count: Annotated[int, Meta(ge=1, le=MAX_CPU_WORKERS)] = 1
    """Train workers of each model that is left without a GPU, 1 to 256."""
    workers_per_gpu: Annotated[int, Meta(ge=1, le=MAX_WORKERS_PER_GPU)] | msgspec.UnsetType = msgspec.UNSET
    """Train workers that share one GPU, 1 to 64; 1 when it is left out."""

    @property
    def gpu_seats(self) -> int:
        """How many train workers have a GPU, or a share of one."""
        return self.gpu_count * seats_of_gpu(self.workers_per_gpu)

    @classmethod
    def from_request(cls, given: Mapping[str, object]) -> TrainBudget:
        """The budget that a request gives; see :func:`parse_train_budget`. Unknown options are logged."""
        _log_unknown(given, BudgetOption)
        return parse_train_budget(given)

    @property
    def trial_limit(self) -> int | None:
        """Trials of each model, None when unlimited."""
        return None if self.model_trial_count == UNLIMITED_TRIALS else self.model_trial_count

    def time_left_s(self, datetime_started: datetime, now: datetime) -> float:
        """Seconds that the job may still run, never negative. Both datetimes are aware."""
        return max(0.0, self.time_hours * 3600 - (now - datetime_started).total_seconds())

    def is_time_over(self, datetime_started: datetime, now: datetime) -> bool:
        """Whether the job's hours have passed. Both datetimes are aware."""
        return self.time_left_s(datetime_started, now) <= 0


class InferenceBudget(msgspec.Struct, frozen=True, rename="upper"):
    """What an inference job may use. In JSON its fields have the names of
    :class:`~rafiki.constants.InferenceBudgetOption`."""

    gpu_count: Annotated[int, Meta(ge=0)] = 0
    """GPUs over all served trials."""
    replica_count: Annotated[int, Meta(ge=1, le=MAX_REPLICAS)] = 1
    """Inference workers of each served trial, 1 to 256."""
    workers_per_gpu: Annotated[int, Meta(ge=1, le=MAX_WORKERS_PER_GPU)] | msgspec.UnsetType = msgspec.UNSET
    """Inference workers that share one GPU, 1 to 64; 1 when it is left out."""

    @property
    def gpu_seats(self) -> int:
        """How many inference workers have a GPU, or a share of one."""
        return self.gpu_count * seats_of_gpu(self.workers_per_gpu)

    @classmethod
    def from_request(cls, given: Mapping[str, object]) -> InferenceBudget:
        """The budget that a request gives; see :func:`parse_inference_budget`. Unknown options are logged."""
        _log_unknown(given, InferenceBudgetOption)
        return parse_inference_budget(given)


def seats_of_gpu(workers_per_gpu: int | msgspec.UnsetType) -> int:
    """How many workers of one job a GPU takes."""
    return 1 if workers_per_gpu is msgspec.UNSET else workers_per_gpu


class TrialQuota(msgspec.Struct, frozen=True):
    """How many trials one model's search may start: the lower of the budget's and the scheme's limit."""

    model_trial_count: int = UNLIMITED_TRIALS
    scheme_limit: int | None = None
    """``Advisor.max_trials``; None when the scheme never ends by itself."""

    @property
    def limit(self) -> int | None:
        """The number of the last trial, None when there is none."""
        limits = [] if self.scheme_limit is None else [self.scheme_limit]
        if self.model_trial_count != UNLIMITED_TRIALS:
            limits.append(self.model_trial_count)
        return min(limits, default=None)

    def may_start(self, no: int) -> bool:
        """Whether trial number ``no`` is within the quota: exactly the numbers 1 to :attr:`limit` are."""
        return no >= 1 and (self.limit is None or no <= self.limit)


def parse_train_budget(budget: Mapping[str, object] | None) -> TrainBudget:
    """A train job's budget from its JSON form; options left out take their defaults, numbers may be texts, and unknown
    options (see :func:`explain_unknown`) mean nothing.

    Raises:
        InvalidTrainJobError: for a value of the wrong type or a value out of range.
    """
    given = _options(budget, InvalidTrainJobError)
    default = TrainBudget()

    def count(option: BudgetOption, otherwise: int, low: int, high: int | None = None) -> int:
        if option not in given:
            return otherwise
        return _count(option, given[option], low, high, InvalidTrainJobError)

    time_hours = default.time_hours
    if BudgetOption.TIME_HOURS in given:
        time_hours = _number(BudgetOption.TIME_HOURS, given[BudgetOption.TIME_HOURS], InvalidTrainJobError)
        if time_hours <= 0:
            raise InvalidTrainJobError(f"Budget: TIME_HOURS must be above 0 hours, not {time_hours:g}.")
    trials = count(BudgetOption.MODEL_TRIAL_COUNT, default.model_trial_count, UNLIMITED_TRIALS)
    if trials == 0:
        raise InvalidTrainJobError("Budget: MODEL_TRIAL_COUNT must be 1 or more, or -1 for unlimited; not 0.")
    return TrainBudget(
        time_hours=time_hours,
        gpu_count=count(BudgetOption.GPU_COUNT, default.gpu_count, 0),
        model_trial_count=trials,
        cpu_worker_count=count(BudgetOption.CPU_WORKER_COUNT, default.cpu_worker_count, 1, MAX_CPU_WORKERS),
        workers_per_gpu=_workers_per_gpu(given, InvalidTrainJobError),
    )


def parse_inference_budget(budget: Mapping[str, object] | None) -> InferenceBudget:
    """An inference job's budget from its JSON form; options left out take their defaults, numbers may be texts, and
    unknown options (see :func:`explain_unknown`) mean nothing.

    Raises:
        InvalidInferenceJobError: for a value of the wrong type or a value out of range.
    """
    given = _options(budget, InvalidInferenceJobError)
    default = InferenceBudget()
    gpus, replicas = default.gpu_count, default.replica_count
    if (option := InferenceBudgetOption.GPU_COUNT) in given:
        gpus = _count(option, given[option], 0, None, InvalidInferenceJobError)
    if (option := InferenceBudgetOption.REPLICA_COUNT) in given:
        replicas = _count(option, given[option], 1, MAX_REPLICAS, InvalidInferenceJobError)
    shared = _workers_per_gpu(given, InvalidInferenceJobError)
    return InferenceBudget(gpu_count=gpus, replica_count=replicas, workers_per_gpu=shared)


def _workers_per_gpu(given: Mapping[str, object], refusal: _Refusal) -> int | msgspec.UnsetType:
    option = BudgetOption.WORKERS_PER_GPU
    return _count(option, given[option], 1, MAX_WORKERS_PER_GPU, refusal) if option in given else msgspec.UNSET


def explain_unknown(
    budget: Mapping[str, object] | None, options: type[BudgetOption] | type[InferenceBudgetOption]
) -> list[str]:
    """A warning for each option of a budget that there is not: it is left out, and another may have been meant."""
    names = [str(option) for option in options]
    found = []
    for key in list(budget or ())[:_MOST_WARNINGS]:
        if key not in names:
            nearest = find_nearest(str(key).upper(), names, ROUGHLY_ALIKE)
            hint = f"Did you mean {nearest}?" if nearest else f"The options are {', '.join(names)}."
            found.append(f"Budget: the option {str(key)[:80]!r} is unknown and left out. {hint}")
    return found


def _log_unknown(budget: Mapping[str, object], options: type[BudgetOption] | type[InferenceBudgetOption]) -> None:
    for warning in explain_unknown(budget, options):
        _logger.warning("%s", warning)


def _options(budget: object, refusal: _Refusal) -> dict[str, object]:
    if budget is None:
        return {}
    if not isinstance(budget, dict):
        raise refusal(f"The budget must be a mapping of options to numbers, not a {type(budget).__name__}.")
    return {str(key): value for key, value in budget.items()}


def _number(option: str, value: object, refusal: _Refusal) -> float:
    given = value
    if isinstance(value, str) and "_" not in value:
        # Forms and command lines of old send numbers as texts.
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refusal(f"Budget: {option} must be a number, not {value!r} ({type(value).__name__}).")
    try:
        number = float(value)
    except OverflowError as e:
        raise refusal(f"Budget: {option} is too large.") from e
    if not math.isfinite(number):
        raise refusal(f"Budget: {option} must be a finite number, not {given!r}.")
    return number


def _count(option: str, value: object, low: int, high: int | None, refusal: _Refusal) -> int:
    number = _number(option, value, refusal)
    if number != int(number):
        raise refusal(f"Budget: {option} must be a whole number, not {value!r}.")
    if number < low:
        raise refusal(f"Budget: {option} must be {low} or more, not {int(number)}.")
    if high is not None and number > high:
        raise refusal(f"Budget: {option} must be {high} or less, not {int(number)}.")
    # Not of the float, which rounds large ones.
    return value if isinstance(value, int) else int(number)

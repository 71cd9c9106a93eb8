"""Inference jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from rafiki.constants import EnsembleMethod, InferenceJobStatus
from rafiki.contract.endpoint import ALL_USERS, SUPERADMIN, Empty, Endpoint, Number, RequestStruct


class EnsembleSetting(RequestStruct, frozen=True, kw_only=True):
    """How to choose the trials that are served."""

    method: EnsembleMethod = EnsembleMethod.MEAN
    """How the members are chosen."""
    size: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    """Trials at most; None = by the method."""


class CreateInferenceJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number = -1
    budget: dict[str, Any] | None = None
    """``GPU_COUNT`` (0) over all served trials; ``REPLICA_COUNT`` (1): inference workers of each served trial."""
    ensemble: EnsembleSetting | None = None
    """None = the best trial of each model, with equal weights."""


class ListInferenceJobsRequest(RequestStruct, frozen=True, kw_only=True):
    user_id: str | None = None
    """None = yourself."""


class AppInferenceJobsRequest(RequestStruct, frozen=True, kw_only=True):
    app: str


class InferenceJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number


class InferenceJobCreatedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    train_job_id: str
    app: str
    app_version: int
    predictor_host: str | None
    """``host:port`` of the predictor; None when it takes longer to start than the call waits."""


class EnsembleView(msgspec.Struct, frozen=True, kw_only=True):
    """How the served trials were chosen. Scores are on the validation examples that all of them were asked."""

    method: EnsembleMethod = EnsembleMethod.MEAN
    """How the members were chosen."""
    size: int | None = None
    """Trials at most; None = one of each model."""
    metric: str | None = None
    """``accuracy`` or ``R2``; None where nothing was scored."""
    validation_score: float | None = None
    """Of the ensemble."""
    best_single_score: float | None = None
    """Of the best of all trials that could have been chosen, alone."""
    member_scores: list[float] = []
    """Of each served trial alone, in the order of ``trial_ids``; empty where nothing was scored."""
    n_examples: int = 0
    """How many examples the scores are of."""
    note: str | None = None
    """Why the best trial is served alone though more were asked for."""


class InferenceJobView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: InferenceJobStatus
    error: str | None
    train_job_id: str
    app: str
    app_version: int
    budget: dict[str, Any]
    """As it was given, with its defaults filled in."""
    trial_ids: list[str]
    """The served trials: the members of the ensemble, best first."""
    weights: list[float]
    """How much the predictions of each count; they sum up to 1."""
    ensemble: EnsembleView
    """How the served trials were chosen."""
    datetime_started: datetime
    datetime_stopped: datetime | None
    predictor_host: str | None
    """``host:port`` of the predictor; None until it runs."""


class InferenceJobStoppedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    train_job_id: str
    app: str
    app_version: int


class StoppedJobsView(msgspec.Struct, frozen=True, kw_only=True):
    train_jobs: list[dict[str, Any]]
    """The stopped ones: ``id``, ``app``, ``app_version``."""
    inference_jobs: list[dict[str, Any]]
    """The stopped ones: ``id``, ``app``, ``app_version``."""


CREATE_INFERENCE_JOB = Endpoint(
    name="create_inference_job", method="POST", path="/inference_jobs", request=CreateInferenceJobRequest,
    response=InferenceJobCreatedView, roles=ALL_USERS,
    summary="Serve trials of a stopped train job as an ensemble; the best one of each model unless told otherwise.",
)  # fmt: skip
GET_INFERENCE_JOBS_BY_USER = Endpoint(
    name="get_inference_jobs_by_user", method="GET", path="/inference_jobs", request=ListInferenceJobsRequest,
    response=list[InferenceJobView], roles=ALL_USERS, summary="Inference jobs of a user: for that user and admins.",
)  # fmt: skip
GET_INFERENCE_JOBS_OF_APP = Endpoint(
    name="get_inference_jobs_of_app", method="GET", path="/inference_jobs/{app}", request=AppInferenceJobsRequest,
    response=list[InferenceJobView], roles=ALL_USERS, summary="Your inference jobs of an app, newest first.",
)  # fmt: skip
GET_RUNNING_INFERENCE_JOB = Endpoint(
    name="get_running_inference_job", method="GET", path="/inference_jobs/{app}/{app_version}",
    request=InferenceJobRequest, response=InferenceJobView, roles=ALL_USERS,
    summary="Your running inference job of an app's version; -1 is the latest.",
)  # fmt: skip
STOP_INFERENCE_JOB = Endpoint(
    name="stop_inference_job", method="POST", path="/inference_jobs/{app}/{app_version}/stop",
    request=InferenceJobRequest, response=InferenceJobStoppedView, roles=ALL_USERS, summary="Stop serving.",
)  # fmt: skip
STOP_ALL_JOBS = Endpoint(
    name="stop_all_jobs", method="POST", path="/actions/stop_all_jobs", request=Empty, response=StoppedJobsView,
    roles=SUPERADMIN, summary="Stop every train and inference job of everyone.",
)  # fmt: skip
ENDPOINTS = [
    CREATE_INFERENCE_JOB, GET_INFERENCE_JOBS_BY_USER, GET_INFERENCE_JOBS_OF_APP, GET_RUNNING_INFERENCE_JOB,
    STOP_INFERENCE_JOB, STOP_ALL_JOBS,
]  # fmt: skip

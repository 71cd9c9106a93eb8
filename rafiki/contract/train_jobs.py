"""Train jobs and their trials."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec

from rafiki.budget import TrainBudget
from rafiki.constants import TrainJobOutcome, TrainJobStatus, TrialStatus
from rafiki.contract.endpoint import (
    ALL_USERS,
    JOB_TIMEOUT_S,
    AnyEndpoint,
    Audited,
    Endpoint,
    Labels,
    Number,
    RequestStruct,
)
from rafiki.proposals import Proposal
from rafiki.search_setting import AdvisorSetting
from rafiki.utils.ids import model_label, model_ref, trial_label
from rafiki.utils.values import JsonObject


class CreateTrainJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    task: str
    train_dataset_id: str
    val_dataset_id: str
    budget: TrainBudget = TrainBudget()
    """``TIME_HOURS`` (0.1) and ``GPU_COUNT`` (0) for the whole job; ``MODEL_TRIAL_COUNT`` (-1: no limit) and
    ``CPU_WORKER_COUNT`` (1, to 256) for each model; ``WORKERS_PER_GPU`` (1, to 64) share each GPU."""
    model_ids: list[str] | None = None
    """None = every available model of the task."""
    train_args: JsonObject | None = None
    """Arguments of the models' ``train()``, passed on as they are; whole numbers must fit 64 bits."""
    advisor: AdvisorSetting | str | None = None
    """How to search: the name of a scheme, or an object of settings; None = by the knobs."""
    labels: Labels = {}
    """Notes of yours on the job, such as the commit that it was made from."""


class ListTrainJobsRequest(RequestStruct, frozen=True, kw_only=True):
    user_id: str | None = None
    """None = yourself."""


class AppTrainJobsRequest(RequestStruct, frozen=True, kw_only=True):
    app: str


class TrainJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number


class StopTrainJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number
    user_id: str | None = None
    """Whose, for admins. None = yours; where an admin has no such app, that of the one user who has it live."""


class ListTrialsRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number
    type: str | None = None
    """``best``: highest score first, saved ones only."""
    max_count: Number = 2
    """With ``type=best``."""
    offset: Number = 0
    """How many to skip."""
    limit: Number | None = None
    """How many at most; None = all."""


class TrialRequest(RequestStruct, frozen=True, kw_only=True):
    trial_id: str


class TrainJobCreatedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    app: str
    app_version: int
    notes: list[str] = []
    """What you should know of its models."""


class SubTrainJobView(msgspec.Struct, frozen=True, kw_only=True):
    """The search over one model of a train job."""

    id: str
    model_id: str
    model_name: str
    model_version: int = 1
    """Of the model; later ones change nothing for the job."""
    status: TrainJobStatus
    error: str | None
    waits_for: str | None
    """Why its workers, or some of them, have not begun, when they wait for something."""

    @property
    def model_ref(self) -> str:
        """``wine@3``."""
        return model_ref(self.model_name, self.model_version)

    @property
    def model_label(self) -> str:
        """What its model is called within the job: ``wine``, later ``wine@3``."""
        return model_label(self.model_name, self.model_version)


class TrainJobView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    status: TrainJobStatus
    error: str | None
    app: str
    app_version: int
    task: str
    train_dataset_id: str
    val_dataset_id: str
    train_args: JsonObject
    """As they were given."""
    advisor: AdvisorSetting
    """How it searches, as it was given; what was left out, or is as by default, is not in it."""
    labels: dict[str, str]
    """Notes of its creator."""
    budget: TrainBudget
    """As it was given, with its defaults filled in."""
    models: list[SubTrainJobView]
    """For each model the state of its search."""
    datetime_stop_requested: datetime | None
    """When somebody stopped it, before its budget was used."""
    datetime_started: datetime
    datetime_stopped: datetime | None
    outcome: TrainJobOutcome | None = None
    """How it ended: COMPLETED where nobody stopped it. None while it lives."""


class TrialView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    train_job_id: str
    no: int
    """1, 2, 3 ... within its model's search."""
    worker_id: str | None
    """The train worker that works on it, or did."""
    attempt: int
    """1, and one more whenever its worker was lost."""
    proposal: Proposal
    """Its knobs, and how the advisor came to them."""
    status: TrialStatus
    """PENDING: its worker was lost, and it waits for another."""
    score: float | None
    """Higher is better; None until it is COMPLETED."""
    ended_early: str | None
    """Why a stopping rule ended it; it is COMPLETED with what it had reached."""
    error: str | None
    model_name: str
    model_version: int = 1
    """Of its model."""
    is_params_saved: bool
    """Whether it can be served."""
    datetime_started: datetime
    datetime_stopped: datetime | None

    @property
    def model_ref(self) -> str:
        """``wine@3``."""
        return model_ref(self.model_name, self.model_version)

    @property
    def model_label(self) -> str:
        """What its model is called within the job: ``wine``, later ``wine@3``."""
        return model_label(self.model_name, self.model_version)

    @property
    def label(self) -> str:
        """``wine#4``: what it is called within its job."""
        return trial_label(self.model_name, self.model_version, self.no)


class LogMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A text that a model logged."""

    time: str
    """When, in ISO 8601."""
    message: str
    """The text."""


LogMetrics: TypeAlias = dict[str, float | str]
"""Numbers by name, and when they were logged as ``time``. What JSON has no number for is `nan`, `inf` or `-inf`."""


class LogPlot(msgspec.Struct, frozen=True, kw_only=True):
    """A chart that a model asked for."""

    title: str
    """The title."""
    metrics: list[str]
    """The names of what is drawn."""
    x_axis: str | None
    """The metric that they are drawn over; None = time."""


class TrialLogsView(msgspec.Struct, frozen=True, kw_only=True):
    messages: list[LogMessage]
    """What the model logged as text."""
    metrics: list[LogMetrics]
    """``time`` and the numbers by name, one entry a call of ``log()``."""
    plots: list[LogPlot]
    """The charts that were asked for."""


# ---- events: the kind of each travels as its ``type`` -----------------------------------------------------------


class TrainJobSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """The state of a train job: what every stream of it begins with."""

    job: TrainJobView
    trials: list[TrialView]


class TrainJobChanged(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """The job, or the search over one of its models, has changed."""

    job: TrainJobView


class TrialChanged(msgspec.Struct, frozen=True, kw_only=True, tag="trial"):
    """A trial is new, or has changed."""

    trial: TrialView


class TrainJobEnded(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The last event of a stream."""

    job: TrainJobView


TrainJobEvent = TrainJobSnapshot | TrainJobChanged | TrialChanged | TrainJobEnded


class TrialLogsSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """What a trial has logged so far. It comes again when the trial was given to another worker, with a new log."""

    trial: TrialView
    messages: list[LogMessage]
    metrics: list[LogMetrics]
    plots: list[LogPlot]


class TrialLogsAdded(msgspec.Struct, frozen=True, kw_only=True, tag="lines"):
    """What a trial has logged since."""

    messages: list[LogMessage]
    metrics: list[LogMetrics]
    plots: list[LogPlot]


class TrialEnded(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The last event of a stream."""

    trial: TrialView


TrialLogsEvent = TrialLogsSnapshot | TrialLogsAdded | TrialEnded


CREATE_TRAIN_JOB: Endpoint[CreateTrainJobRequest, TrainJobCreatedView] = Endpoint(
    name="create_train_job", method="POST", path="/train_jobs", request=CreateTrainJobRequest,
    response=TrainJobCreatedView, timeout_s=JOB_TIMEOUT_S, roles=ALL_USERS,
    summary="Start training models on your datasets under a budget.",
    audited=Audited("train.create", ("app", "app_version", "id")),
)  # fmt: skip
GET_TRAIN_JOBS_BY_USER: Endpoint[ListTrainJobsRequest, list[TrainJobView]] = Endpoint(
    name="get_train_jobs_by_user", method="GET", path="/train_jobs", request=ListTrainJobsRequest,
    response=list[TrainJobView], roles=ALL_USERS, summary="Train jobs of a user: for that user and admins.",
)  # fmt: skip
GET_TRAIN_JOBS_OF_APP: Endpoint[AppTrainJobsRequest, list[TrainJobView]] = Endpoint(
    name="get_train_jobs_of_app", method="GET", path="/train_jobs/{app}", request=AppTrainJobsRequest,
    response=list[TrainJobView], roles=ALL_USERS, summary="Your train jobs of an app, newest first.",
)  # fmt: skip
GET_TRAIN_JOB: Endpoint[TrainJobRequest, TrainJobView] = Endpoint(
    name="get_train_job", method="GET", path="/train_jobs/{app}/{app_version}", request=TrainJobRequest,
    response=TrainJobView, roles=ALL_USERS, summary="One of your train jobs; version -1 is the latest.",
)  # fmt: skip
WATCH_TRAIN_JOB: Endpoint[TrainJobRequest, TrainJobEvent] = Endpoint(
    name="watch_train_job", method="GET", path="/train_jobs/{app}/{app_version}/events", request=TrainJobRequest,
    response=TrainJobEvent, roles=ALL_USERS, is_stream=True,
    summary="The state of one of your train jobs, then each change of it and of its trials, until it ends.",
)  # fmt: skip
STOP_TRAIN_JOB: Endpoint[StopTrainJobRequest, TrainJobCreatedView] = Endpoint(
    name="stop_train_job", method="POST", path="/train_jobs/{app}/{app_version}/stop", request=StopTrainJobRequest,
    response=TrainJobCreatedView, timeout_s=JOB_TIMEOUT_S, roles=ALL_USERS,
    summary="Stop a train job; its finished trials stay.",
    audited=Audited("train.stop", ("app", "app_version", "user_id", "id")),
)  # fmt: skip
GET_TRIALS_OF_TRAIN_JOB: Endpoint[ListTrialsRequest, list[TrialView]] = Endpoint(
    name="get_trials_of_train_job", method="GET", path="/train_jobs/{app}/{app_version}/trials",
    request=ListTrialsRequest, response=list[TrialView], roles=ALL_USERS, summary="The trials of a train job.",
)  # fmt: skip
GET_TRIAL: Endpoint[TrialRequest, TrialView] = Endpoint(
    name="get_trial", method="GET", path="/trials/{trial_id}", request=TrialRequest, response=TrialView,
    roles=ALL_USERS, summary="One trial: for its owner and admins.",
)  # fmt: skip
GET_TRIAL_LOGS: Endpoint[TrialRequest, TrialLogsView] = Endpoint(
    name="get_trial_logs", method="GET", path="/trials/{trial_id}/logs", request=TrialRequest,
    response=TrialLogsView, roles=ALL_USERS, summary="What the model logged in a trial.",
)  # fmt: skip
WATCH_TRIAL_LOGS: Endpoint[TrialRequest, TrialLogsEvent] = Endpoint(
    name="watch_trial_logs", method="GET", path="/trials/{trial_id}/logs/events", request=TrialRequest,
    response=TrialLogsEvent, roles=ALL_USERS, is_stream=True,
    summary="What the model has logged in a trial, then what it logs, until the trial ends.",
)  # fmt: skip
GET_TRIAL_PARAMETERS: Endpoint[TrialRequest, bytes] = Endpoint(
    name="get_trial_parameters", method="GET", path="/trials/{trial_id}/parameters", request=TrialRequest,
    response=bytes, roles=ALL_USERS, summary="The trained parameters of a trial, as safetensors.",
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [
    CREATE_TRAIN_JOB, GET_TRAIN_JOBS_BY_USER, GET_TRAIN_JOBS_OF_APP, GET_TRAIN_JOB, WATCH_TRAIN_JOB, STOP_TRAIN_JOB,
    GET_TRIALS_OF_TRAIN_JOB, GET_TRIAL, GET_TRIAL_LOGS, WATCH_TRIAL_LOGS, GET_TRIAL_PARAMETERS,
]  # fmt: skip

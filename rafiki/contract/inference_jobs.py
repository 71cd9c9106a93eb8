"""Inference jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from rafiki.budget import MAX_REPLICAS, InferenceBudget
from rafiki.constants import EnsembleMethod, InferenceJobStatus, ServiceStatus, ServingRole
from rafiki.contract.deployments import DeploymentRequest
from rafiki.contract.endpoint import (
    ALL_USERS,
    JOB_TIMEOUT_S,
    SUPERADMIN,
    AnyEndpoint,
    Audited,
    Empty,
    Endpoint,
    Labels,
    Number,
    RequestStruct,
)
from rafiki.contract.rollouts import RolloutView
from rafiki.deployment import Deployment, Replicas
from rafiki.ensembles import EnsembleSetting, EnsembleSummary
from rafiki.utils.ids import trial_label


class CreateInferenceJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number = -1
    budget: InferenceBudget | None = None
    """``GPU_COUNT`` (0) over all served trials; ``REPLICA_COUNT`` (1): inference workers of each served trial;
    ``WORKERS_PER_GPU`` (1, to 64) share each GPU."""
    ensemble: EnsembleSetting | None = None
    """None = the best trial of each model, with equal weights."""
    deployment: DeploymentRequest | None = None
    """None = as the stack's settings say."""
    labels: Labels = {}
    """Notes of yours on the job, such as the commit that it was made from."""
    replace: bool = False
    """Stop the running inference job of the train job first, once all else of the request holds."""


class ListInferenceJobsRequest(RequestStruct, frozen=True, kw_only=True):
    user_id: str | None = None
    """None = yourself."""


class AppInferenceJobsRequest(RequestStruct, frozen=True, kw_only=True):
    app: str


class InferenceJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number


class StopInferenceJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number
    user_id: str | None = None
    """Whose, for admins. None = yours; where an admin has no such app, that of the one user who serves it."""


class ScaleInferenceJobRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number
    min: Annotated[int, msgspec.Meta(ge=0, le=MAX_REPLICAS)] | None = None
    """Inference workers of each served trial that there are always; 0 = none while nobody asks. None = as it is."""
    max: Annotated[int, msgspec.Meta(ge=1, le=MAX_REPLICAS)] | None = None
    """The most, whatever the load. None = as it is."""
    idle_s: Annotated[float, msgspec.Meta(ge=1, le=31_536_000)] | None = None
    """Seconds without a query after which all end, where ``min`` is 0. None = as it is."""


class InferenceJobCreatedView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    train_job_id: str
    app: str
    app_version: int
    predictor_host: str | None
    """``host:port`` of the predictor; None when it takes longer to start than the call waits."""
    warnings: list[str] = []
    """What may surprise whoever deploys it so, for people; left out when there is nothing."""


class InferenceJobScaledView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    app: str
    app_version: int
    replicas: Replicas
    """From now on."""
    warnings: list[str] = []
    """What may surprise, for people."""


class PreviewEnsembleRequest(RequestStruct, frozen=True, kw_only=True):
    app: str
    app_version: Number
    method: EnsembleMethod = EnsembleMethod.MEAN
    size: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None


class EnsemblePreviewView(msgspec.Struct, frozen=True, kw_only=True):
    """The ensemble that an inference job would serve."""

    trial_ids: list[str]
    """Best first; empty when the train job has no trial to serve."""
    weights: list[float]
    """How much the predictions of each would count; they sum up to 1."""
    ensemble: EnsembleSummary


class LostMemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A served trial without a worker that could still be started."""

    trial_id: str
    label: str
    """``wine#4``: what the trial is called within its train job."""
    reason: str
    """Why, for people: its parameters are damaged."""
    is_serving: bool = False
    """Whether other workers of it still serve: those that have it in memory."""
    is_being_replaced: bool = False
    """Whether another trial is being chosen to take its place."""


class ScaledMemberView(msgspec.Struct, frozen=True, kw_only=True):
    """How many inference workers a served trial should have now."""

    trial_id: str
    label: str
    """``wine#4``: what the trial is called within its train job."""
    wanted: int
    """So many, of which some may be starting still."""
    reason: str
    """Why; empty when it is so from the beginning."""
    start_s: float | None
    """How long a start of its workers takes, by the last ones; None when none was seen."""


class ScalingChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """Another number of inference workers was wanted."""

    datetime_changed: datetime
    """When it was decided."""
    trial_id: str
    """The served trial whose workers they are."""
    label: str
    """``wine#4``: what the trial is called within its train job."""
    before: int
    """How many were wanted until then."""
    after: int
    """How many are since."""
    reason: str
    """``queue of 160 ms at a budget of 200 ms``"""


class ScalingView(msgspec.Struct, frozen=True, kw_only=True):
    """How many inference workers the load asks for."""

    members: list[ScaledMemberView]
    changes: list[ScalingChangeView]
    """The last 20, oldest first, since the admin began."""
    is_asleep: bool
    """Whether there are none, as nobody has asked: the next query starts them."""


class InferenceJobView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: InferenceJobStatus
    error: str | None
    """Why it has ended, or which members of one that runs cannot serve, why, and what to do."""
    train_job_id: str
    app: str
    app_version: int
    budget: InferenceBudget
    """As it was given, with its defaults filled in."""
    trial_ids: list[str]
    """The served trials: the members of the ensemble, best first."""
    weights: list[float]
    """How much the predictions of each count; they sum up to 1."""
    ensemble: EnsembleSummary
    """How the served trials were chosen."""
    deployment: Deployment
    """How it serves, where that differs from the stack's settings."""
    labels: dict[str, str]
    """Notes of its creator."""
    datetime_started: datetime
    datetime_stopped: datetime | None
    predictor_host: str | None
    """``host:port`` of the predictor; None until it runs."""
    waits_for: str | None = None
    """Why some of its workers have not begun, when they wait for something."""
    lost_members: list[LostMemberView] = []
    """The served trials that cannot be loaded, or whose workers fail again and again; those in whose place others are
    served are in ``ensemble``."""
    role: ServingRole = ServingRole.PRIMARY
    """``PRIMARY`` answers, a ``CANDIDATE`` is to take its place at the same address, one that is ``LEAVING`` answers
    what it has in hand."""
    update: RolloutView | None = None
    """The newest update that it takes or took part in."""
    scaling: ScalingView | None = None
    """What was decided lately, where ``deployment.replicas`` leaves it to the load."""


class InferenceJobStoppedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    train_job_id: str
    app: str
    app_version: int


class StoppedJobView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    app: str
    app_version: int


class StoppedJobsView(msgspec.Struct, frozen=True, kw_only=True):
    train_jobs: list[StoppedJobView]
    """The stopped ones."""
    inference_jobs: list[StoppedJobView]
    """The stopped ones."""


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A served trial, and the services that serve it."""

    trial_id: str
    model_name: str
    model_version: int = 1
    """Of its model."""
    no: int
    score: float | None
    weight: float
    """How much its predictions count; those of all members sum up to 1."""
    state: ServiceStatus
    """``RUNNING`` when one of its workers runs, ``STARTED`` while the first one starts, ``STOPPED`` without any."""
    workers: int
    """How many run."""
    error: str | None
    """Why the last one ended, while none runs."""

    @property
    def label(self) -> str:
        """``wine#4``: what the trial is called within its train job."""
        return trial_label(self.model_name, self.model_version, self.no)


class MemberFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A served trial, as the predictor sees it."""

    trial_id: str
    workers: int
    """How many take its queries now."""
    waiting: int
    """Its queries that are not answered yet."""
    shed: int = 0
    """Queries that it was not asked since the predictor started, as it would have been too late."""


# ---- events: the kind of each travels as its ``type`` -----------------------------------------------------------


class InferenceJobSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """The state of an inference job: what every stream of it begins with."""

    job: InferenceJobView
    members: list[MemberView]


class InferenceJobChanged(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """The job or one of its members has changed."""

    job: InferenceJobView
    members: list[MemberView]


class InferenceFigures(msgspec.Struct, frozen=True, kw_only=True, tag="figures"):
    """How much the job serves, once a second."""

    predictors: int
    """How many report; without any the rest means nothing."""
    requests_per_s: float
    """In the last second."""
    errors_per_s: float
    """Requests without a prediction as their answer, in the last second."""
    p50_ms: float | None
    """Half of the answers of the last ten seconds took no longer; None without an answer."""
    p95_ms: float | None
    requests: int
    """Since the predictor started."""
    errors: int
    waiting: int
    """Queries that are not answered yet, of all members."""
    members: list[MemberFigures]
    cache_hits: int = 0
    """Queries that were answered with kept predictions, since the predictor started."""
    cache_misses: int = 0
    """Those that were not, where predictions are kept."""


class InferenceJobEnded(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The last event of a stream."""

    job: InferenceJobView


InferenceJobEvent = InferenceJobSnapshot | InferenceJobChanged | InferenceFigures | InferenceJobEnded


CREATE_INFERENCE_JOB: Endpoint[CreateInferenceJobRequest, InferenceJobCreatedView] = Endpoint(
    name="create_inference_job", method="POST", path="/inference_jobs", request=CreateInferenceJobRequest,
    response=InferenceJobCreatedView, timeout_s=JOB_TIMEOUT_S, roles=ALL_USERS,
    summary="Serve trials of a stopped train job as an ensemble; the best one of each model by default.",
    audited=Audited("infer.create", ("app", "app_version", "replace", "id")),
)  # fmt: skip
PREVIEW_ENSEMBLE: Endpoint[PreviewEnsembleRequest, EnsemblePreviewView] = Endpoint(
    name="preview_ensemble", method="GET", path="/train_jobs/{app}/{app_version}/ensemble",
    request=PreviewEnsembleRequest, response=EnsemblePreviewView, timeout_s=JOB_TIMEOUT_S, roles=ALL_USERS,
    summary="Which trials of a stopped train job would be served, and what they score together.",
)  # fmt: skip
GET_INFERENCE_JOBS_BY_USER: Endpoint[ListInferenceJobsRequest, list[InferenceJobView]] = Endpoint(
    name="get_inference_jobs_by_user", method="GET", path="/inference_jobs", request=ListInferenceJobsRequest,
    response=list[InferenceJobView], roles=ALL_USERS, summary="Inference jobs of a user: for that user and admins.",
)  # fmt: skip
GET_INFERENCE_JOBS_OF_APP: Endpoint[AppInferenceJobsRequest, list[InferenceJobView]] = Endpoint(
    name="get_inference_jobs_of_app", method="GET", path="/inference_jobs/{app}", request=AppInferenceJobsRequest,
    response=list[InferenceJobView], roles=ALL_USERS, summary="Your inference jobs of an app, newest first.",
)  # fmt: skip
GET_RUNNING_INFERENCE_JOB: Endpoint[InferenceJobRequest, InferenceJobView] = Endpoint(
    name="get_running_inference_job", method="GET", path="/inference_jobs/{app}/{app_version}",
    request=InferenceJobRequest, response=InferenceJobView, roles=ALL_USERS,
    summary="Your running inference job of an app's version; -1 is the latest.",
)  # fmt: skip
WATCH_INFERENCE_JOB: Endpoint[InferenceJobRequest, InferenceJobEvent] = Endpoint(
    name="watch_inference_job", method="GET", path="/inference_jobs/{app}/{app_version}/events",
    request=InferenceJobRequest, response=InferenceJobEvent, roles=ALL_USERS, is_stream=True,
    summary="The state of your running inference job, then each change, and every second how much it serves.",
)  # fmt: skip
STOP_INFERENCE_JOB: Endpoint[StopInferenceJobRequest, InferenceJobStoppedView] = Endpoint(
    name="stop_inference_job", method="POST", path="/inference_jobs/{app}/{app_version}/stop",
    request=StopInferenceJobRequest, response=InferenceJobStoppedView, timeout_s=JOB_TIMEOUT_S, roles=ALL_USERS,
    summary="Stop serving.",
    audited=Audited("infer.stop", ("app", "app_version", "user_id", "id")),
)  # fmt: skip
SCALE_INFERENCE_JOB: Endpoint[ScaleInferenceJobRequest, InferenceJobScaledView] = Endpoint(
    name="scale_inference_job", method="POST", path="/inference_jobs/{app}/{app_version}/scale",
    request=ScaleInferenceJobRequest, response=InferenceJobScaledView, roles=ALL_USERS,
    summary="Change between which numbers the load decides how many workers each served trial has.",
    audited=Audited("infer.scale", ("app", "app_version", "min", "max", "idle_s", "id")),
)  # fmt: skip
STOP_ALL_JOBS: Endpoint[Empty, StoppedJobsView] = Endpoint(
    name="stop_all_jobs", method="POST", path="/actions/stop_all_jobs", request=Empty, response=StoppedJobsView,
    timeout_s=JOB_TIMEOUT_S, roles=SUPERADMIN, summary="Stop every train and inference job of everyone.",
    audited=Audited("stop-all"),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [
    CREATE_INFERENCE_JOB, PREVIEW_ENSEMBLE, GET_INFERENCE_JOBS_BY_USER, GET_INFERENCE_JOBS_OF_APP,
    GET_RUNNING_INFERENCE_JOB, WATCH_INFERENCE_JOB, STOP_INFERENCE_JOB, SCALE_INFERENCE_JOB, STOP_ALL_JOBS,
]  # fmt: skip

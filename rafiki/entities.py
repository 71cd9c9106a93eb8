"""The records of Rafiki as frozen structs: what the meta store returns and the admin hands out.

Ids are UUID strings, datetimes are aware UTC, sizes are bytes.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.budget import InferenceBudget, TrainBudget
from rafiki.constants import (
    DeliveryStatus,
    InferenceJobStatus,
    LoadFailure,
    ModelAccessRight,
    RolloutKind,
    RolloutOrder,
    RolloutStatus,
    ServiceStatus,
    ServiceType,
    ServingRole,
    TrainJobStatus,
    TrialStatus,
    UserType,
)
from rafiki.deployment import Deployment
from rafiki.ensembles import EnsembleSummary
from rafiki.job_events import JobEvent
from rafiki.knob_specs import KnobSpecs
from rafiki.proposals import Proposal
from rafiki.rollouts import Comparison, RollbackRules
from rafiki.search_setting import AdvisorSetting
from rafiki.utils.ids import model_ref, trial_label
from rafiki.utils.values import JsonObject


class User(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    email: str
    password_hash: str
    user_type: UserType
    datetime_created: datetime
    banned_date: datetime | None = None


class Identity(msgspec.Struct, frozen=True):
    """An account at an OpenID Connect provider."""

    issuer: str
    subject: str
    """The id of the account there, for good."""


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that a user made for a program. The token itself is not kept, only its hash."""

    id: str
    user_id: str
    name: str
    secret_hash: str
    datetime_created: datetime
    datetime_expires: datetime
    datetime_used: datetime | None = None
    """When it was last used, to the minute."""
    datetime_revoked: datetime | None = None


class PredictorKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that the predictors of a user's app take. The key itself is not kept, only its hash."""

    id: str
    user_id: str
    app: str
    name: str
    secret_hash: str
    datetime_created: datetime
    datetime_revoked: datetime | None = None


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of events of jobs: a webhook, or a tracker such as an MLflow server."""

    id: str
    user_id: str | None
    """Whose jobs it is told of; None = everybody's: rafiki.yaml names it."""
    kind: str
    """``webhook``, or the name of the kind of tracker."""
    url: str
    """Where it is; never holds a password."""
    events: list[str]
    """Patterns of events: ``train_job.*``."""
    datetime_created: datetime
    error: str | None = None
    """Why the last attempt failed; None since one has succeeded."""
    datetime_failed: datetime | None = None
    """Since when no attempt has succeeded."""
    datetime_delivered: datetime | None = None
    """When one succeeded last."""
    datetime_off: datetime | None = None
    """When it was switched off: it is told nothing since then."""
    off_reason: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one receiver: to be told, told, or given up."""

    receiver_id: str
    event_id: str
    """The same for all its receivers, and at each attempt."""
    event: JobEvent
    job_id: str
    """Of the train or inference job. Events of one job are told in their order."""
    data: JsonObject
    """What is known of it for good: ids, app, status, score."""
    status: DeliveryStatus
    attempts: int
    error: str | None
    """Why the last attempt failed."""
    answer: int | None
    """The HTTP status of the last answer."""
    datetime_created: datetime
    datetime_due: datetime
    """When the next attempt is due."""
    datetime_ended: datetime | None
    """When it was told, or given up."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    name: str
    task: str
    size_bytes: int
    sha256: str
    store_id: str
    """Where the data store keeps the file."""
    datetime_created: datetime


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model template."""

    id: str
    user_id: str
    name: str
    version: int = 1
    """1, 2, 3 ... among its owner's models of that name."""
    task: str
    model_class: str
    model_file_sha256: str
    dependencies: dict[str, str]
    access_right: ModelAccessRight
    docker_image: str | None
    image_digest: str | None = None
    """What that name meant at the upload; None where no service runs in images."""
    knob_config: KnobSpecs | None
    """The knobs, read at the last check; None when the file does not load."""
    knob_constraints: list[str] = []
    """Expressions over the knobs that every proposal satisfies."""
    load_error: str | None
    """Why the file does not load; None when it does."""
    load_failure: LoadFailure | None = None
    """The kind of that reason."""
    datetime_created: datetime
    datetime_checked: datetime | None = None
    """When it was checked again; None when only its upload has checked it."""

    @property
    def ref(self) -> str:
        """``wine@3``."""
        return model_ref(self.name, self.version)


class TrainJob(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    app: str
    app_version: int
    task: str
    train_dataset_id: str
    val_dataset_id: str
    budget: TrainBudget
    train_args: JsonObject
    advisor: AdvisorSetting = AdvisorSetting()
    """How it searches."""
    labels: dict[str, str] = {}
    """What its creator noted on it; Rafiki itself makes nothing of them."""
    status: TrainJobStatus
    error: str | None
    """Why the job is ERRORED, for people."""
    datetime_started: datetime
    datetime_stop_requested: datetime | None = None
    datetime_stopped: datetime | None = None


class SubTrainJob(msgspec.Struct, frozen=True, kw_only=True):
    """The search over one model within a train job. Its status and trials are written by its advisor worker alone."""

    id: str
    train_job_id: str
    model_id: str
    model_name: str
    model_version: int = 1
    status: TrainJobStatus
    error: str | None
    advisor_id: str | None
    """The service that owns this record now (fencing token); None when the admin has taken it over."""

    @property
    def model_ref(self) -> str:
        """``wine@3``."""
        return model_ref(self.model_name, self.model_version)


class TrialCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a training that an attempt of a trial has saved, and the next one goes on from."""

    params_id: str
    """Where the parameter store keeps it."""
    step: int
    attempt: int
    """The one that saved it."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    sub_train_job_id: str
    train_job_id: str
    no: int
    """1, 2, 3 ... within its sub train job."""
    model_name: str
    model_version: int = 1
    worker_id: str | None
    attempt: int
    """1 at first; one more each time that the trial is given to another worker after its worker was lost."""
    proposal: Proposal
    status: TrialStatus
    score: float | None
    error: str | None
    params_id: str | None
    """Where the parameter store keeps the trained parameters."""
    ended_early: str | None = None
    """Why a stopping rule ended it before its training was over; it is COMPLETED with what it had reached."""
    checkpoint: TrialCheckpoint | None = None
    """The last one, while the trial is not final."""
    datetime_started: datetime
    datetime_stopped: datetime | None = None

    @property
    def is_params_saved(self) -> bool:
        return self.params_id is not None

    @property
    def label(self) -> str:
        """``wine#4``: what it is called within its train job."""
        return trial_label(self.model_name, self.model_version, self.no)


class SavedTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial whose parameters are kept, with what tells whether they are needed."""

    id: str
    sub_train_job_id: str
    train_job_id: str
    app: str
    app_version: int
    is_job_live: bool
    no: int
    model_name: str
    model_version: int = 1
    score: float | None
    params_id: str
    datetime_started: datetime
    datetime_stopped: datetime | None

    @property
    def label(self) -> str:
        """``wine#4``: what it is called within its train job."""
        return trial_label(self.model_name, self.model_version, self.no)


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a store of files holds under one id, or has begun to write."""

    id: str
    size_bytes: int
    """With what lies beside it."""
    datetime_modified: datetime
    is_half_written: bool = False
    """Its writer is at work, or was killed. The id is good for ``delete_half_written`` alone."""


class TrialLog(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a trial's log. ``entry`` is a :data:`rafiki.messages.LogEntry` as plain values."""

    trial_id: str
    attempt: int
    line_no: int
    entry: JsonObject


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """An intermediate score of a trial."""

    trial_id: str
    attempt: int
    step: float
    score: float


class InferenceJob(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    train_job_id: str
    app: str
    app_version: int
    budget: InferenceBudget
    ensemble: EnsembleSummary = EnsembleSummary()
    """How its members were chosen, and what they scored on validation data."""
    labels: dict[str, str] = {}
    """What its creator noted on it; Rafiki itself makes nothing of them."""
    deployment: Deployment = Deployment()
    """How it serves, where that differs from the stack's settings."""
    status: InferenceJobStatus
    error: str | None
    predictor_host: str | None
    datetime_started: datetime
    datetime_stop_requested: datetime | None = None
    datetime_stopped: datetime | None = None
    front_id: str | None = None
    """The inference job whose predictor serves it, where it came by an update; None = its own."""
    role: ServingRole = ServingRole.PRIMARY

    @property
    def front(self) -> str:
        """By which the predictor is known: the first inference job behind its address."""
        return self.front_id or self.id


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """An update: how an app goes over from one inference job to another behind one address."""

    id: str
    user_id: str
    app: str
    front_id: str
    from_job_id: str
    to_job_id: str
    kind: RolloutKind
    share: float
    """Of the requests, that the new one answers while it is tried."""
    rules: RollbackRules
    is_rollback: bool
    """Whether it goes back to the version before."""
    status: RolloutStatus
    ordered: RolloutOrder | None
    """What somebody wants to be done with it."""
    reason: str | None
    """Why it ended as it did."""
    comparison: Comparison
    """How both have done, as it ended."""
    datetime_started: datetime
    datetime_ready: datetime | None
    """When the new one was ready."""
    datetime_stopped: datetime | None


class ServedTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial that an inference job serves: one member of its ensemble."""

    inference_job_id: str
    trial_id: str
    weight: float = 1.0
    """How much its predictions count, relative to those of the others."""


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a served trial runs."""

    model_id: str
    label: str
    """``wine#4``: what the trial is called within its train job."""


LOCAL_HOST = "local"
"""The name of the machine that the admin runs on, for back ends that know no other."""


class Gpu(msgspec.Struct, frozen=True, order=True):
    """One device of one host."""

    host: str
    """As the back end names it."""
    name: str
    """As the host names the device: its index, or the id of a part of it."""

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"


def parse_gpu(text: str) -> Gpu:
    """The GPU that ``host/name`` names."""
    host, slash, name = text.partition("/")
    return Gpu(host, name) if slash else Gpu(LOCAL_HOST, text)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One started process (or container) of a job. A restart makes a new record in the same slot."""

    id: str
    service_type: ServiceType
    job_id: str
    """The train or inference job it belongs to."""
    unit_id: str
    """What it works on: the sub train job (advisor, train), the trial (inference) or the job (predictor)."""
    slot: int
    """0, 1, ... among the services of the same type and unit."""
    attempt: int
    """1 at first; one more with each restart in the same slot."""
    status: ServiceStatus
    error: str | None
    is_permanent: bool = False
    """The failure that ended it would come again at once, so its slot is not started again."""
    gpus: list[Gpu]
    port: int | None
    """Where it listens; None until it was really started, and where it does not."""
    handle: str | None
    """What the container manager finds it again by, and alone reads; None until it was really started."""
    datetime_started: datetime
    datetime_stopped: datetime | None = None

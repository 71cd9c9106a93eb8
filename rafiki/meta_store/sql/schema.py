"""The tables. A change here needs a migration in ``rafiki/meta_store/migrations``; a test compares them."""

from __future__ import annotations

from enum import StrEnum

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from rafiki import states
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
from rafiki.entities import TrialCheckpoint
from rafiki.job_events import JobEvent
from rafiki.knob_specs import KnobSpecs
from rafiki.meta_store.sql.columns import Choice, Gpus, Json, JsonStruct, Message, Str, UtcDateTime
from rafiki.proposals import Proposal
from rafiki.rollouts import Comparison, RollbackRules
from rafiki.search_setting import AdvisorSetting

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _id() -> Column[str]:
    return Column("id", Str, primary_key=True)


def _ref(name: str, target: str, *, ondelete: str | None = None, primary_key: bool = False) -> Column[str]:
    key = ForeignKey(f"{target}.id", ondelete=ondelete)
    return Column(name, Str, key, nullable=False, primary_key=primary_key)


def _partial_index(name: str, *columns: Column[object], where: ColumnElement[bool], unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _status(kind: type[StrEnum]) -> Column[StrEnum]:
    return Column("status", Choice(kind), nullable=False)


def _times() -> list[Column[object]]:
    return [
        Column("datetime_started", UtcDateTime, nullable=False),
        Column("datetime_stopped", UtcDateTime),
    ]


users = Table(
    "users",
    metadata,
    _id(),
    Column("email", Str, nullable=False),
    # Folded here and not by lower() in the database, which knows ASCII only on SQLite and a locale on
    # PostgreSQL.
    Column("email_key", Str, nullable=False),
    Column("password_hash", Str, nullable=False),
    Column("user_type", Choice(UserType), nullable=False),
    Column("datetime_created", UtcDateTime, nullable=False),
    Column("banned_date", UtcDateTime),
    UniqueConstraint("email_key"),
)

identities = Table(
    "identities",
    metadata,
    Column("issuer", Str, primary_key=True),
    Column("subject", Str, primary_key=True),
    _ref("user_id", "users"),
    Column("datetime_created", UtcDateTime, nullable=False),
    Index(None, "user_id"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    _id(),
    _ref("user_id", "users"),
    Column("name", Str, nullable=False),
    Column("secret_hash", Str, nullable=False),
    Column("datetime_created", UtcDateTime, nullable=False),
    Column("datetime_expires", UtcDateTime, nullable=False),
    Column("datetime_used", UtcDateTime),
    Column("datetime_revoked", UtcDateTime),
    UniqueConstraint("secret_hash"),
)
api_token_is_live = api_tokens.c.datetime_revoked.is_(None)
_partial_index("uq_api_tokens_live", api_tokens.c.user_id, api_tokens.c.name, where=api_token_is_live, unique=True)

predictor_keys = Table(
    "predictor_keys",
    metadata,
    _id(),
    _ref("user_id", "users"),
    Column("app", Str, nullable=False),
    Column("name", Str, nullable=False),
    Column("secret_hash", Str, nullable=False),
    Column("datetime_created", UtcDateTime, nullable=False),
    Column("datetime_revoked", UtcDateTime),
)
predictor_key_is_live = predictor_keys.c.datetime_revoked.is_(None)
_partial_index(
    "uq_predictor_keys_live", predictor_keys.c.user_id, predictor_keys.c.app, predictor_keys.c.name,
    where=predictor_key_is_live, unique=True,
)  # fmt: skip

datasets = Table(
    "datasets",
    metadata,
    _id(),
    _ref("user_id", "users"),
    Column("name", Str, nullable=False),
    Column("task", Str, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Str, nullable=False),
    Column("store_id", Str, nullable=False),
    Column("datetime_created", UtcDateTime, nullable=False),
    Index(None, "user_id", "datetime_created"),
)

models = Table(
    "models",
    metadata,
    _id(),
    _ref("user_id", "users"),
    Column("name", Str, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("task", Str, nullable=False),
    Column("model_class", Str, nullable=False),
    Column("model_file_sha256", Str, nullable=False),
    Column("dependencies", Json, nullable=False),
    Column("access_right", Choice(ModelAccessRight), nullable=False),
    Column("docker_image", Str),
    Column("image_digest", Str),
    Column("knob_config", JsonStruct(KnobSpecs)),
    Column("knob_constraints", Json, nullable=False, server_default="[]"),
    Column("load_error", Message),
    Column("load_failure", Choice(LoadFailure)),
    Column("datetime_created", UtcDateTime, nullable=False),
    Column("datetime_checked", UtcDateTime),
    UniqueConstraint("user_id", "name", "version"),
    Index(None, "access_right"),
)

# Apart from its model, so that a list of models never reads the files.
model_files = Table(
    "model_files",
    metadata,
    _ref("model_id", "models", ondelete="CASCADE", primary_key=True),
    Column("contents", LargeBinary, nullable=False),
)

train_jobs = Table(
    "train_jobs",
    metadata,
    _id(),
    _ref("user_id", "users"),
    Column("app", Str, nullable=False),
    Column("app_version", Integer, nullable=False),
    Column("task", Str, nullable=False),
    _ref("train_dataset_id", "datasets"),
    _ref("val_dataset_id", "datasets"),
    Column("budget", JsonStruct(TrainBudget), nullable=False),
    Column("train_args", Json, nullable=False),
    Column("advisor", JsonStruct(AdvisorSetting), nullable=False, server_default="{}"),
    Column("labels", Json, nullable=False, server_default="{}"),
    _status(TrainJobStatus),
    Column("error", Message),
    *_times(),
    Column("datetime_stop_requested", UtcDateTime),
    UniqueConstraint("user_id", "app", "app_version"),
    Index(None, "user_id", "datetime_started"),
)
train_job_is_live = train_jobs.c.status.in_(states.live_statuses(states.TRAIN_JOB_TRANSITIONS))
_partial_index("uq_train_jobs_live", train_jobs.c.user_id, train_jobs.c.app, where=train_job_is_live, unique=True)
_partial_index("ix_train_jobs_live", train_jobs.c.datetime_started, where=train_job_is_live)

sub_train_jobs = Table(
    "sub_train_jobs",
    metadata,
    _id(),
    _ref("train_job_id", "train_jobs"),
    Column("position", Integer, nullable=False),
    _ref("model_id", "models"),
    Column("model_name", Str, nullable=False),
    Column("model_version", Integer, nullable=False, server_default="1"),
    _status(TrainJobStatus),
    Column("error", Message),
    Column("advisor_id", Str),
    UniqueConstraint("train_job_id", "position"),
    Index(None, "model_id"),
)

trials = Table(
    "trials",
    metadata,
    _id(),
    _ref("sub_train_job_id", "sub_train_jobs"),
    _ref("train_job_id", "train_jobs"),
    Column("no", Integer, nullable=False),
    Column("model_name", Str, nullable=False),
    Column("model_version", Integer, nullable=False, server_default="1"),
    Column("worker_id", Str),
    Column("attempt", Integer, nullable=False),
    Column("proposal", JsonStruct(Proposal), nullable=False),
    _status(TrialStatus),
    Column("score", Double),
    Column("error", Message),
    Column("params_id", Str),
    Column("ended_early", Message),
    Column("checkpoint", JsonStruct(TrialCheckpoint)),
    *_times(),
    UniqueConstraint("sub_train_job_id", "no"),
    Index(None, "train_job_id", "datetime_started", "no"),
)
trial_can_be_served = (trials.c.status == TrialStatus.COMPLETED) & trials.c.params_id.is_not(None)
_partial_index("ix_trials_best", trials.c.train_job_id, trials.c.score, where=trial_can_be_served)

trial_logs = Table(
    "trial_logs",
    metadata,
    _ref("trial_id", "trials", primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("entry", Json, nullable=False),
    sqlite_with_rowid=False,
)

# Intermediate scores. A trial that was given to another worker begins them anew.
trial_reports = Table(
    "trial_reports",
    metadata,
    _ref("trial_id", "trials", primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("step", Double, primary_key=True),
    Column("score", Double, nullable=False),
    sqlite_with_rowid=False,
)

inference_jobs = Table(
    "inference_jobs",
    metadata,
    _id(),
    _ref("user_id", "users"),
    _ref("train_job_id", "train_jobs"),
    Column("app", Str, nullable=False),
    Column("app_version", Integer, nullable=False),
    Column("budget", JsonStruct(InferenceBudget), nullable=False),
    Column("ensemble", JsonStruct(EnsembleSummary), nullable=False, server_default="{}"),
    Column("labels", Json, nullable=False, server_default="{}"),
    Column("deployment", JsonStruct(Deployment), nullable=False, server_default="{}"),
    _status(InferenceJobStatus),
    Column("error", Message),
    Column("predictor_host", Str),
    *_times(),
    Column("datetime_stop_requested", UtcDateTime),
    # Of a job of the same table that may have ended.
    Column("front_id", Str),
    Column("role", Choice(ServingRole), nullable=False, server_default=ServingRole.PRIMARY),
    Index(None, "user_id", "datetime_started"),
    Index(None, "user_id", "app", "datetime_started"),
)
inference_job_is_live = inference_jobs.c.status.in_(states.live_statuses(states.INFERENCE_JOB_TRANSITIONS))
inference_job_is_primary = inference_jobs.c.role == ServingRole.PRIMARY
_partial_index(
    "uq_inference_jobs_live", inference_jobs.c.train_job_id, where=inference_job_is_live & inference_job_is_primary,
    unique=True,
)  # fmt: skip
_partial_index("ix_inference_jobs_live", inference_jobs.c.datetime_started, where=inference_job_is_live)

served_trials = Table(
    "served_trials",
    metadata,
    _ref("inference_job_id", "inference_jobs", primary_key=True),
    _ref("trial_id", "trials", primary_key=True),
    Column("position", Integer, nullable=False),
    Column("weight", Double, nullable=False, server_default="1"),
)

rollouts = Table(
    "rollouts",
    metadata,
    _id(),
    _ref("user_id", "users"),
    Column("app", Str, nullable=False),
    _ref("front_id", "inference_jobs"),
    _ref("from_job_id", "inference_jobs"),
    _ref("to_job_id", "inference_jobs"),
    Column("kind", Choice(RolloutKind), nullable=False),
    Column("share", Double, nullable=False),
    Column("rules", JsonStruct(RollbackRules), nullable=False),
    Column("is_rollback", Boolean, nullable=False),
    _status(RolloutStatus),
    Column("ordered", Choice(RolloutOrder)),
    Column("reason", Message),
    Column("comparison", JsonStruct(Comparison), nullable=False),
    Column("datetime_started", UtcDateTime, nullable=False),
    Column("datetime_ready", UtcDateTime),
    Column("datetime_stopped", UtcDateTime),
    Index(None, "user_id", "app", "datetime_started"),
)
rollout_is_live = rollouts.c.status.in_(states.live_statuses(states.ROLLOUT_TRANSITIONS))
_partial_index("uq_rollouts_live", rollouts.c.front_id, where=rollout_is_live, unique=True)

# Who is told of events of jobs, and what each is still to be told. An event is written in the transaction of the change
# that it tells of, once for each receiver: none is lost, and where there is no receiver nothing is written.
receivers = Table(
    "receivers",
    metadata,
    _id(),
    Column("user_id", Str, ForeignKey("users.id")),
    Column("kind", Str, nullable=False),
    Column("url", Str, nullable=False),
    Column("events", Json, nullable=False),
    Column("datetime_created", UtcDateTime, nullable=False),
    Column("error", Message),
    Column("datetime_failed", UtcDateTime),
    Column("datetime_delivered", UtcDateTime),
    Column("datetime_off", UtcDateTime),
    Column("off_reason", Message),
    Index(None, "user_id"),
)
receiver_is_on = receivers.c.datetime_off.is_(None)

deliveries = Table(
    "deliveries",
    metadata,
    _ref("receiver_id", "receivers", ondelete="CASCADE", primary_key=True),
    Column("event_id", Str, primary_key=True),
    # Larger than that of every event that was committed before it.
    Column("seq", BigInteger, nullable=False),
    Column("event", Choice(JobEvent), nullable=False),
    # A train or an inference job, so no foreign key.
    Column("job_id", Str, nullable=False),
    Column("data", Json, nullable=False),
    _status(DeliveryStatus),
    Column("attempts", Integer, nullable=False),
    Column("error", Message),
    Column("answer", Integer),
    Column("datetime_created", UtcDateTime, nullable=False),
    Column("datetime_due", UtcDateTime, nullable=False),
    Column("datetime_ended", UtcDateTime),
    Index(None, "seq"),
    Index(None, "receiver_id", "seq"),
)
delivery_is_waiting = deliveries.c.status == DeliveryStatus.WAITING
_partial_index("ix_deliveries_waiting", deliveries.c.receiver_id, deliveries.c.seq, where=delivery_is_waiting)

services = Table(
    "services",
    metadata,
    _id(),
    Column("service_type", Choice(ServiceType), nullable=False),
    # A train or an inference job, so no foreign key.
    Column("job_id", Str, nullable=False),
    Column("unit_id", Str, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    _status(ServiceStatus),
    Column("error", Message),
    Column("is_permanent", Boolean, nullable=False, server_default=false()),
    Column("gpus", Gpus, nullable=False),
    Column("port", Integer),
    Column("handle", Text),
    *_times(),
    Index(None, "job_id", "datetime_started"),
)
service_is_live = services.c.status.in_(states.live_statuses(states.SERVICE_TRANSITIONS))
_partial_index("ix_services_live", services.c.datetime_started, where=service_is_live)


def columns_of(table: Table, entity: type[msgspec.Struct]) -> list[Column[object]]:
    """The columns that make up an entity, in the order of its fields."""
    return [table.c[field] for field in entity.__struct_fields__]

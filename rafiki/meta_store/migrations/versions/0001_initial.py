"""The first schema.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LIVE_JOB = sa.text("status IN ('STARTED', 'RUNNING')")
_LIVE_SERVICE = sa.text("status IN ('STARTED', 'DEPLOYING', 'RUNNING')")
_SERVABLE_TRIAL = sa.text("status = 'COMPLETED' AND params_id IS NOT NULL")


def _partial(name: str, table: str, columns: list[str], where: sa.TextClause, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("email_key", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("user_type", sa.String(), nullable=False),
        sa.Column("datetime_created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("banned_date", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("store_id", sa.String(), nullable=False),
        sa.Column("datetime_created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_datasets_user_id"),
    )
    op.create_index("ix_datasets_user_id_datetime_created", "datasets", ["user_id", "datetime_created"])
    op.create_table(
        "models",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("model_class", sa.String(), nullable=False),
        sa.Column("model_file_sha256", sa.String(), nullable=False),
        sa.Column("dependencies", sa.Text(), nullable=False),
        sa.Column("access_right", sa.String(), nullable=False),
        sa.Column("docker_image", sa.String()),
        sa.Column("knob_config", sa.Text()),
        sa.Column("load_error", sa.Text()),
        sa.Column("datetime_created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_models_user_id"),
        sa.UniqueConstraint("user_id", "name", name="uq_models_user_id_name"),
    )
    op.create_index("ix_models_access_right", "models", ["access_right"])
    op.create_table(
        "model_files",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("contents", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", name="pk_model_files"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_files_model_id", ondelete="CASCADE"),
    )
    op.create_table(
        "train_jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("app_version", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("train_dataset_id", sa.String(), nullable=False),
        sa.Column("val_dataset_id", sa.String(), nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("train_args", sa.Text(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("datetime_started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_stopped", sa.DateTime(timezone=True)),
        sa.Column("datetime_stop_requested", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_train_jobs"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_train_jobs_user_id"),
        sa.ForeignKeyConstraint(["train_dataset_id"], ["datasets.id"], name="fk_train_jobs_train_dataset_id"),
        sa.ForeignKeyConstraint(["val_dataset_id"], ["datasets.id"], name="fk_train_jobs_val_dataset_id"),
        sa.UniqueConstraint("user_id", "app", "app_version", name="uq_train_jobs_user_id_app_app_version"),
    )
    op.create_index("ix_train_jobs_user_id_datetime_started", "train_jobs", ["user_id", "datetime_started"])
    _partial("uq_train_jobs_live", "train_jobs", ["user_id", "app"], _LIVE_JOB, unique=True)
    _partial("ix_train_jobs_live", "train_jobs", ["datetime_started"], _LIVE_JOB)
    op.create_table(
        "sub_train_jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("train_job_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("advisor_id", sa.String()),
        sa.PrimaryKeyConstraint("id", name="pk_sub_train_jobs"),
        sa.ForeignKeyConstraint(["train_job_id"], ["train_jobs.id"], name="fk_sub_train_jobs_train_job_id"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_sub_train_jobs_model_id"),
        sa.UniqueConstraint("train_job_id", "position", name="uq_sub_train_jobs_train_job_id_position"),
    )
    op.create_index("ix_sub_train_jobs_model_id", "sub_train_jobs", ["model_id"])
    op.create_table(
        "trials",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sub_train_job_id", sa.String(), nullable=False),
        sa.Column("train_job_id", sa.String(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("worker_id", sa.String()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("proposal", sa.Text(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.Column("params_id", sa.String()),
        sa.Column("datetime_started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_stopped", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.ForeignKeyConstraint(["sub_train_job_id"], ["sub_train_jobs.id"], name="fk_trials_sub_train_job_id"),
        sa.ForeignKeyConstraint(["train_job_id"], ["train_jobs.id"], name="fk_trials_train_job_id"),
        sa.UniqueConstraint("sub_train_job_id", "no", name="uq_trials_sub_train_job_id_no"),
    )
    op.create_index("ix_trials_train_job_id_datetime_started_no", "trials", ["train_job_id", "datetime_started", "no"])
    _partial("ix_trials_best", "trials", ["train_job_id", "score"], _SERVABLE_TRIAL)
    op.create_table(
        "trial_logs",
        sa.Column("trial_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("trial_id", "attempt", "line_no", name="pk_trial_logs"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_trial_logs_trial_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "inference_jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("train_job_id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("app_version", sa.Integer(), nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("predictor_host", sa.String()),
        sa.Column("datetime_started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_stopped", sa.DateTime(timezone=True)),
        sa.Column("datetime_stop_requested", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_inference_jobs"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_inference_jobs_user_id"),
        sa.ForeignKeyConstraint(["train_job_id"], ["train_jobs.id"], name="fk_inference_jobs_train_job_id"),
    )
    op.create_index("ix_inference_jobs_user_id_datetime_started", "inference_jobs", ["user_id", "datetime_started"])
    op.create_index(
        "ix_inference_jobs_user_id_app_datetime_started",
        "inference_jobs",
        ["user_id", "app", "datetime_started"],
    )
    _partial("uq_inference_jobs_live", "inference_jobs", ["train_job_id"], _LIVE_JOB, unique=True)
    _partial("ix_inference_jobs_live", "inference_jobs", ["datetime_started"], _LIVE_JOB)
    op.create_table(
        "served_trials",
        sa.Column("inference_job_id", sa.String(), nullable=False),
        sa.Column("trial_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("inference_job_id", "trial_id", name="pk_served_trials"),
        sa.ForeignKeyConstraint(["inference_job_id"], ["inference_jobs.id"], name="fk_served_trials_inference_job_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_served_trials_trial_id"),
    )
    op.create_table(
        "services",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("service_type", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("unit_id", sa.String(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("gpus", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer()),
        sa.Column("handle", sa.Text()),
        sa.Column("datetime_started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_stopped", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_services"),
    )
    op.create_index("ix_services_job_id_datetime_started", "services", ["job_id", "datetime_started"])
    _partial("ix_services_live", "services", ["datetime_started"], _LIVE_SERVICE)


def downgrade() -> None:
    for table in (
        "services",
        "served_trials",
        "inference_jobs",
        "trial_logs",
        "trials",
        "sub_train_jobs",
        "train_jobs",
        "model_files",
        "models",
        "datasets",
        "users",
    ):
        op.drop_table(table)

"""Updates of a deployment behind its address.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_IS_LIVE = sa.text("status IN ('STARTED', 'RUNNING')")
_IS_LIVE_PRIMARY = sa.text("status IN ('STARTED', 'RUNNING') AND role = 'PRIMARY'")


def upgrade() -> None:
    op.add_column("inference_jobs", sa.Column("front_id", sa.String()))
    op.add_column("inference_jobs", sa.Column("role", sa.String(), nullable=False, server_default="PRIMARY"))
    op.drop_index("uq_inference_jobs_live", "inference_jobs")
    op.create_index(
        "uq_inference_jobs_live", "inference_jobs", ["train_job_id"], unique=True, sqlite_where=_IS_LIVE_PRIMARY,
        postgresql_where=_IS_LIVE_PRIMARY,
    )  # fmt: skip
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("front_id", sa.String(), nullable=False),
        sa.Column("from_job_id", sa.String(), nullable=False),
        sa.Column("to_job_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("is_rollback", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("ordered", sa.String()),
        sa.Column("reason", sa.Text()),
        sa.Column("comparison", sa.Text(), nullable=False),
        sa.Column("datetime_started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_ready", sa.DateTime(timezone=True)),
        sa.Column("datetime_stopped", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_rollouts_user_id"),
        sa.ForeignKeyConstraint(["front_id"], ["inference_jobs.id"], name="fk_rollouts_front_id"),
        sa.ForeignKeyConstraint(["from_job_id"], ["inference_jobs.id"], name="fk_rollouts_from_job_id"),
        sa.ForeignKeyConstraint(["to_job_id"], ["inference_jobs.id"], name="fk_rollouts_to_job_id"),
    )
    op.create_index("ix_rollouts_user_id_app_datetime_started", "rollouts", ["user_id", "app", "datetime_started"])
    op.create_index(
        "uq_rollouts_live", "rollouts", ["front_id"], unique=True, sqlite_where=_IS_LIVE, postgresql_where=_IS_LIVE
    )


def downgrade() -> None:
    op.drop_index("uq_rollouts_live", "rollouts")
    op.drop_index("ix_rollouts_user_id_app_datetime_started", "rollouts")
    op.drop_table("rollouts")
    op.drop_index("uq_inference_jobs_live", "inference_jobs")
    op.create_index(
        "uq_inference_jobs_live", "inference_jobs", ["train_job_id"], unique=True, sqlite_where=_IS_LIVE,
        postgresql_where=_IS_LIVE,
    )  # fmt: skip
    with op.batch_alter_table("inference_jobs") as table:
        table.drop_column("role")
        table.drop_column("front_id")

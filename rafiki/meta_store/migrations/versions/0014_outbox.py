"""Who is told of events of jobs, and what each is still to be told.

Revision ID: 0014
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None

_IS_WAITING = sa.text("status = 'WAITING'")


def upgrade() -> None:
    op.create_table(
        "receivers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String()),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("datetime_created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("datetime_failed", sa.DateTime(timezone=True)),
        sa.Column("datetime_delivered", sa.DateTime(timezone=True)),
        sa.Column("datetime_off", sa.DateTime(timezone=True)),
        sa.Column("off_reason", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_receivers"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_receivers_user_id"),
    )
    op.create_index("ix_receivers_user_id", "receivers", ["user_id"])
    op.create_table(
        "deliveries",
        sa.Column("receiver_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("answer", sa.Integer()),
        sa.Column("datetime_created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_ended", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("receiver_id", "event_id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(
            ["receiver_id"], ["receivers.id"], name="fk_deliveries_receiver_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_deliveries_seq", "deliveries", ["seq"])
    op.create_index("ix_deliveries_receiver_id_seq", "deliveries", ["receiver_id", "seq"])
    op.create_index(
        "ix_deliveries_waiting", "deliveries", ["receiver_id", "seq"], sqlite_where=_IS_WAITING,
        postgresql_where=_IS_WAITING,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("receivers")

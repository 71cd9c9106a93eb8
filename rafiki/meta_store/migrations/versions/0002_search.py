"""How jobs search and serve: advisor settings, constraints, intermediate scores, early ends, ensembles.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = [
    ("models", sa.Column("knob_constraints", sa.Text(), nullable=False, server_default="[]")),
    ("train_jobs", sa.Column("advisor", sa.Text(), nullable=False, server_default="{}")),
    ("trials", sa.Column("ended_early", sa.Text())),
    ("inference_jobs", sa.Column("ensemble", sa.Text(), nullable=False, server_default="{}")),
    ("served_trials", sa.Column("weight", sa.Double(), nullable=False, server_default="1")),
]


def upgrade() -> None:
    for table, column in _COLUMNS:
        op.add_column(table, column)
    op.create_table(
        "trial_reports",
        sa.Column("trial_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("trial_id", "attempt", "step", name="pk_trial_reports"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_trial_reports_trial_id"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("trial_reports")
    for table, column in reversed(_COLUMNS):
        op.drop_column(table, column.name)

"""Trials have checkpoints while they run.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trials", sa.Column("checkpoint", sa.Text()))


def downgrade() -> None:
    op.drop_column("trials", "checkpoint")

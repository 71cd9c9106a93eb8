"""Models record what the name of their image meant when it was checked.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("image_digest", sa.String()))


def downgrade() -> None:
    op.drop_column("models", "image_digest")

"""Tokens that users make for programs.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_IS_LIVE = sa.text("datetime_revoked IS NULL")


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("datetime_created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_used", sa.DateTime(timezone=True)),
        sa.Column("datetime_revoked", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_tokens_user_id"),
        sa.UniqueConstraint("secret_hash", name="uq_api_tokens_secret_hash"),
    )
    op.create_index(
        "uq_api_tokens_live", "api_tokens", ["user_id", "name"], unique=True, sqlite_where=_IS_LIVE,
        postgresql_where=_IS_LIVE,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("uq_api_tokens_live", "api_tokens")
    op.drop_table("api_tokens")

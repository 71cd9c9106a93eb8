"""Keys that predictors of an app may ask for.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_IS_LIVE = sa.text("datetime_revoked IS NULL")


def upgrade() -> None:
    op.create_table(
        "predictor_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("datetime_created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("datetime_revoked", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_predictor_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_predictor_keys_user_id"),
    )
    op.create_index(
        "uq_predictor_keys_live", "predictor_keys", ["user_id", "app", "name"], unique=True, sqlite_where=_IS_LIVE,
        postgresql_where=_IS_LIVE,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("uq_predictor_keys_live", "predictor_keys")
    op.drop_table("predictor_keys")

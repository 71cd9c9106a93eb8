"""Models have versions, and what their latest check found.

Revision ID: 0007
Revises: 0006
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_models = sa.table(
    "models", sa.column("id", sa.String), sa.column("user_id", sa.String), sa.column("name", sa.String),
    sa.column("version", sa.Integer), sa.column("load_error", sa.Text), sa.column("load_failure", sa.String),
)  # fmt: skip
_subs = sa.table(
    "sub_train_jobs", sa.column("id", sa.String), sa.column("model_id", sa.String), sa.column("model_name", sa.String),
    sa.column("model_version", sa.Integer),
)  # fmt: skip
_trials = sa.table(
    "trials", sa.column("sub_train_job_id", sa.String), sa.column("model_name", sa.String),
    sa.column("model_version", sa.Integer),
)  # fmt: skip
_TOOK_TOO_LONG = "%importing it did not finish within%"
"""How earlier versions of Rafiki said that a check had taken too long."""


def upgrade() -> None:
    with op.batch_alter_table("models") as table:
        table.add_column(sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("load_failure", sa.String()))
        table.add_column(sa.Column("datetime_checked", sa.DateTime(timezone=True)))
        table.drop_constraint("uq_models_user_id_name", type_="unique")
        table.create_unique_constraint("uq_models_user_id_name_version", ["user_id", "name", "version"])
    for name in ("sub_train_jobs", "trials"):
        op.add_column(name, sa.Column("model_version", sa.Integer(), nullable=False, server_default="1"))
    is_late = _models.c.load_error.like(_TOOK_TOO_LONG)
    has_failed = _models.c.load_error.is_not(None)
    op.execute(_models.update().where(has_failed).values(load_failure=sa.case((is_late, "machine"), else_="file")))
    _versions_from_names()


def downgrade() -> None:
    _names_from_versions()
    for name in ("trials", "sub_train_jobs"):
        op.drop_column(name, "model_version")
    with op.batch_alter_table("models") as table:
        table.drop_constraint("uq_models_user_id_name_version", type_="unique")
        for column in ("datetime_checked", "load_failure", "version"):
            table.drop_column(column)
        table.create_unique_constraint("uq_models_user_id_name", ["user_id", "name"])


def _versions_from_names() -> None:
    """``wine@2`` of a user who has ``wine`` becomes its version 2: so a downgrade left it, or a user meant it."""
    connection = op.get_bind()
    rows = connection.execute(sa.select(_models.c.id, _models.c.user_id, _models.c.name)).all()
    taken = {(user_id, name) for _, user_id, name in rows}
    for model_id, user_id, name in rows:
        found = re.fullmatch(r"(.+)@([1-9][0-9]{0,8})", name)
        if found and int(found[2]) > 1 and (user_id, found[1]) in taken:
            _rename(model_id, found[1], int(found[2]))


def _names_from_versions() -> None:
    """The oldest version keeps the name, as an earlier Rafiki allows one model of a name; the others are ``wine@2``."""
    connection = op.get_bind()
    wanted = sa.select(_models.c.id, _models.c.user_id, _models.c.name, _models.c.version)
    rows = connection.execute(wanted.order_by(_models.c.version)).all()
    taken = {(user_id, name) for _, user_id, name, _ in rows}
    seen: set[tuple[str, str]] = set()
    for model_id, user_id, name, version in rows:
        if (user_id, name) not in seen:
            seen.add((user_id, name))
            continue
        new = f"{name}@{version}"
        while (user_id, new) in taken:
            new += "-"
        taken.add((user_id, new))
        _rename(model_id, new, 1)


def _rename(model_id: str, name: str, version: int) -> None:
    connection = op.get_bind()
    connection.execute(_models.update().where(_models.c.id == model_id).values(name=name, version=version))
    subs = connection.scalars(sa.select(_subs.c.id).where(_subs.c.model_id == model_id)).all()
    new = {"model_name": name, "model_version": version}
    connection.execute(_subs.update().where(_subs.c.model_id == model_id).values(**new))
    for sub_id in subs:
        connection.execute(_trials.update().where(_trials.c.sub_train_job_id == sub_id).values(**new))

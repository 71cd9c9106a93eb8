"""GPUs have a host; whether a service's failure is permanent is a column, and no longer the beginning of its error.

Revision ID: 0006
Revises: 0005
"""

import json
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_services = sa.table(
    "services", sa.column("id", sa.String), sa.column("gpus", sa.Text), sa.column("error", sa.Text),
    sa.column("is_permanent", sa.Boolean),
)  # fmt: skip
_PREFIX = "Cannot run: "


def upgrade() -> None:
    op.add_column("services", sa.Column("is_permanent", sa.Boolean(), nullable=False, server_default=sa.false()))
    _rewrite_gpus(lambda index: f"local/{index}")
    is_permanent = _services.c.error.startswith(_PREFIX, autoescape=True)
    rest = sa.func.substr(_services.c.error, len(_PREFIX) + 1)
    op.execute(_services.update().where(is_permanent).values(is_permanent=True, error=rest))


def downgrade() -> None:
    prefixed = sa.literal(_PREFIX) + _services.c.error
    op.execute(_services.update().where(_services.c.is_permanent).values(error=prefixed))
    _rewrite_gpus(lambda text: int(text.rpartition("/")[2]))
    op.drop_column("services", "is_permanent")


def _rewrite_gpus(one: Callable[[str], object]) -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.select(_services.c.id, _services.c.gpus).where(_services.c.gpus != "[]")).all()
    for service_id, gpus in rows:
        new = json.dumps([one(gpu) for gpu in json.loads(gpus)])
        connection.execute(_services.update().where(_services.c.id == service_id).values(gpus=new))

"""Proposals as structs: what only its scheme understands has a place of its own, beside the fields that all have.

Revision ID: 0005
Revises: 0004
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TRIALS = sa.table("trials", sa.column("id", sa.String()), sa.column("proposal", sa.Text()))
_FIELDS = ("knobs", "scheme", "phase", "start_from", "start_from_trial", "start_from_params")
_STATE = "scheme_state"
_AT_ONCE = 1000


def _rewrite(change) -> None:  # type: ignore[no-untyped-def]
    connection = op.get_bind()
    last = ""
    while True:
        wanted = sa.select(_TRIALS).where(_TRIALS.c.id > last).order_by(_TRIALS.c.id).limit(_AT_ONCE)
        rows = connection.execute(wanted).all()
        if not rows:
            return
        for trial_id, text in rows:
            proposal = json.loads(text)
            if (changed := change(proposal)) != proposal:
                connection.execute(
                    _TRIALS.update().where(_TRIALS.c.id == trial_id).values(proposal=json.dumps(changed))
                )
        last = rows[-1][0]


def _nested(proposal: dict) -> dict:  # type: ignore[type-arg]
    found = {name: value for name, value in proposal.items() if name in _FIELDS}
    state = {name: value for name, value in proposal.items() if name not in _FIELDS}
    return {**found, _STATE: state} if state else found


def _flat(proposal: dict) -> dict:  # type: ignore[type-arg]
    found = {name: value for name, value in proposal.items() if name != _STATE}
    return {**found, **proposal.get(_STATE, {})}


def upgrade() -> None:
    _rewrite(_nested)


def downgrade() -> None:
    _rewrite(_flat)

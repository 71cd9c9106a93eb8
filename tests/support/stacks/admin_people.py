"""Who and what the tests of the admin share."""

from __future__ import annotations

from typing import NamedTuple

from support.http.raw_http import Caller
from support.stacks.running_stack import RunningStack


class People(NamedTuple):
    """One user of each kind, logged in, and somebody without a token."""

    superadmin: Caller
    admin: Caller
    model_developer: Caller
    app_developer: Caller
    nobody: Caller


class Finished(NamedTuple):
    """A train job with three completed trials, and who owns all of it."""

    owner: Caller
    app: str
    dataset_id: str
    model_id: str
    trial_ids: list[str]


class Hostile(NamedTuple):
    """A stack that gets nothing but bad input, with small limits; and ids of what exists in it."""

    stack: RunningStack
    root: Caller
    me: Caller
    other: Caller
    dataset: str
    model: str
    app: str
    """My finished train job."""
    trial: str
    others_dataset: str
    others_model: str
    others_app: str
    others_trial: str

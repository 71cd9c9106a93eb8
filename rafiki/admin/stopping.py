"""Whose job is meant when one is to be stopped: admins may stop those of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from rafiki.admin.context import AdminContext, is_admin
from rafiki.entities import User
from rafiki.errors import InvalidTrainJobError


class _Stop(Protocol):
    """A request to stop a job."""

    @property
    def app(self) -> str: ...
    @property
    def app_version(self) -> int: ...
    @property
    def user_id(self) -> str | None: ...


class _Job(Protocol):
    @property
    def app(self) -> str: ...
    @property
    def app_version(self) -> int: ...
    @property
    def user_id(self) -> str: ...


Job = TypeVar("Job", bound=_Job)


def owner_to_stop(context: AdminContext, actor: User, request: _Stop) -> str:
    """The id of the user whose job it is: named, or whoever calls.

    Raises:
        InvalidTrainJobError: another user is named by somebody who is no admin.
        InvalidUserError: there is no such user.
    """
    if request.user_id is None or request.user_id == actor.id:
        return actor.id
    if not is_admin(actor):
        raise InvalidTrainJobError("Only admins stop the jobs of other users.")
    return context.store.users.get_user(request.user_id).id


def is_meant(job: _Job, request: _Stop) -> bool:
    """Whether a live job has the app and the version; any for -1."""
    return job.app == request.app and request.app_version in (-1, job.app_version)


def only_of_others(context: AdminContext, actor: User, request: _Stop, live: Sequence[Job]) -> Job | None:
    """The live job of another user that an admin means who named nobody and has no such app; None where none is.

    Raises:
        InvalidTrainJobError: several users have one.
    """
    if request.user_id is not None or not is_admin(actor) or not live:
        return None
    if context.store.train_jobs.list_train_jobs_of_app(actor.id, request.app, limit=1):
        return None
    if (count := len({job.user_id for job in live})) > 1:
        raise InvalidTrainJobError(
            f"{count} users have a live job of the app {request.app!r}. Say whose is to be stopped: field 'user_id', "
            "or `--user EMAIL`."
        )
    return max(live, key=lambda job: job.app_version)

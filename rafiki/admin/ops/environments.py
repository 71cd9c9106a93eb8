"""The installed packages that models depend on."""

from __future__ import annotations

from collections import Counter

from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.operation import bind
from rafiki.contract.endpoint import Empty
from rafiki.contract.environments import (
    CREATE_ENVIRONMENT,
    GET_ENVIRONMENT_LOG,
    GET_ENVIRONMENTS,
    REMOVE_ENVIRONMENT,
    CreateEnvironmentRequest,
    EnvironmentLogView,
    EnvironmentRequest,
    EnvironmentStateView,
    EnvironmentView,
)
from rafiki.entities import User
from rafiki.environments.requirements import key_of, parse_dependencies
from rafiki.environments.state import Environment
from rafiki.errors import EnvironmentUsedError, InvalidEnvironmentError, InvalidModelError
from rafiki.utils.files import tail_lines

_LOG_LINES = 2000
_LOG_BYTES = 1 << 20


def create_environment(context: AdminContext, actor: User, request: CreateEnvironmentRequest) -> EnvironmentStateView:
    state = context.environments.request(request.dependencies, user_id=actor.id)
    return EnvironmentStateView(key=state.key, status=state.status, reason=state.reason)


def get_environments(context: AdminContext, actor: User, request: Empty) -> list[EnvironmentView]:
    visible = _visible(context, actor)
    return [e for e in view_environments(context) if visible is None or e.key in visible]


def view_environments(context: AdminContext) -> list[EnvironmentView]:
    """All of them."""
    dependents, used = _dependents(context), used_environments(context)
    return [_view(e, dependents, used) for e in context.environments.list_environments()]


def get_environment_log(context: AdminContext, actor: User, request: EnvironmentRequest) -> EnvironmentLogView:
    key = visible_environment(context, actor, request.key).key
    lines = tail_lines(context.environments.log_file(key), _LOG_LINES, max_bytes=_LOG_BYTES)
    return EnvironmentLogView(key=key, lines=lines)


def visible_environment(context: AdminContext, actor: User, key: str) -> Environment:
    """An environment of a model that the actor can use, or that the actor has asked for.

    Raises:
        InvalidEnvironmentError
    """
    found = context.environments.get_environment(key)
    visible = _visible(context, actor)
    if visible is not None and key not in visible and not context.environments.was_asked_by(key, actor.id):
        raise InvalidEnvironmentError.not_found(f"There is no environment {key!r} of a model that you can use.")
    return found


def remove_environment(context: AdminContext, actor: User, request: EnvironmentRequest) -> EnvironmentView:
    used = used_environments(context)
    if request.key in used:
        raise EnvironmentUsedError(f"A live job runs in the environment {request.key}. Stop the job first.")
    return _view(context.environments.remove(request.key), _dependents(context), used)


def _view(e: Environment, dependents: Counter[str], used: set[str]) -> EnvironmentView:
    return EnvironmentView(
        key=e.key, requirements=e.requirements, status=e.status, reason=e.reason, size_bytes=e.size_bytes,
        datetime_built=e.datetime_built, n_models=dependents[e.key], is_in_use=e.key in used,
    )  # fmt: skip


def _dependents(context: AdminContext) -> Counter[str]:
    """How many models depend on each environment."""
    return Counter(key for m in context.store.models.list_models() if (key := _key(m.dependencies)) is not None)


def _visible(context: AdminContext, actor: User) -> set[str] | None:
    """The environments that the actor may see; None = all."""
    if is_admin(actor):
        return None
    available = context.store.models.list_available_models(actor.id)
    return {key for m in available if (key := _key(m.dependencies)) is not None}


def used_environments(context: AdminContext) -> set[str]:
    """The environments of the models of live jobs."""
    store = context.store
    train_job_ids = {j.id for j in store.train_jobs.list_live_train_jobs()}
    train_job_ids |= {j.train_job_id for j in store.inference_jobs.list_live_inference_jobs()}
    model_ids = {s.model_id for job_id in train_job_ids for s in store.train_jobs.list_sub_train_jobs(job_id)}
    keys = (_key(store.models.get_model(model_id).dependencies) for model_id in model_ids)
    return {key for key in keys if key is not None}


def _key(dependencies: dict[str, str]) -> str | None:
    try:
        return key_of(parse_dependencies(dependencies)) if dependencies else None
    except InvalidModelError:
        return None


OPERATIONS = [
    bind(CREATE_ENVIRONMENT, create_environment),
    bind(GET_ENVIRONMENTS, get_environments),
    bind(GET_ENVIRONMENT_LOG, get_environment_log),
    bind(REMOVE_ENVIRONMENT, remove_environment),
]

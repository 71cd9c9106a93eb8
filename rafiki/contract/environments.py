"""Environments: the installed packages that models depend on."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.contract.endpoint import (
    ADMINS,
    ALL_USERS,
    JOB_TIMEOUT_S,
    MODEL_DEVELOPERS,
    AnyEndpoint,
    Audited,
    Empty,
    Endpoint,
    RequestStruct,
)


class EnvironmentRequest(RequestStruct, frozen=True, kw_only=True):
    key: str


class EnvironmentView(msgspec.Struct, frozen=True, kw_only=True):
    """One distinct set of packages, installed once."""

    key: str
    """16 hexadecimal digits: of the packages and of this Python."""
    requirements: list[str]
    """As pip takes them: ``["scikit-learn==1.4.2"]``."""
    status: str
    """``READY``, ``BUILDING`` or ``FAILED``."""
    reason: str | None
    """Why it could not be built; None otherwise."""
    size_bytes: int | None
    """On disk; None unless READY."""
    datetime_built: datetime | None
    """None unless READY."""
    n_models: int
    """How many models depend on it; 0 = it can be removed without loss."""
    is_in_use: bool
    """Whether a live job has a model that depends on it."""


class EnvironmentLogView(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    lines: list[str]
    """The last lines that pip wrote, of all attempts."""


class CreateEnvironmentRequest(RequestStruct, frozen=True, kw_only=True):
    dependencies: dict[str, str]
    """PyPI package -> version, as of a model."""


class EnvironmentStateView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the packages that something depends on."""

    key: str | None
    """Of their environment; None when what is installed beside Rafiki will do."""
    status: str
    """``READY``, ``BUILDING`` or ``FAILED``."""
    reason: str | None
    """Why they cannot be installed."""


# ---- events: the kind of each travels as its ``type`` -----------------------------------------------------------


class EnvironmentSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """The state of an environment, and the last lines of its build: what every stream of it begins with."""

    key: str
    status: str
    requirements: list[str]
    lines: list[str]


class EnvironmentLines(msgspec.Struct, frozen=True, kw_only=True, tag="lines"):
    """What the build has said since."""

    lines: list[str]


class EnvironmentEnded(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The build has ended: the last event of a stream."""

    key: str
    status: str
    reason: str | None


EnvironmentEvent = EnvironmentSnapshot | EnvironmentLines | EnvironmentEnded


CREATE_ENVIRONMENT: Endpoint[CreateEnvironmentRequest, EnvironmentStateView] = Endpoint(
    name="create_environment", method="POST", path="/environments", request=CreateEnvironmentRequest,
    response=EnvironmentStateView, roles=MODEL_DEVELOPERS,
    summary="Begin to install packages, as the upload of a model that depends on them does.",
    audited=Audited("environment.create", ("key",)),
)  # fmt: skip
GET_ENVIRONMENTS: Endpoint[Empty, list[EnvironmentView]] = Endpoint(
    name="get_environments", method="GET", path="/environments", request=Empty, response=list[EnvironmentView],
    roles=ALL_USERS, summary="The installed sets of packages that models depend on: those of models you can use.",
)  # fmt: skip
GET_ENVIRONMENT_LOG: Endpoint[EnvironmentRequest, EnvironmentLogView] = Endpoint(
    name="get_environment_log", method="GET", path="/environments/{key}/log", request=EnvironmentRequest,
    response=EnvironmentLogView, roles=ALL_USERS, summary="What was said when it was built.",
)  # fmt: skip
WATCH_ENVIRONMENT: Endpoint[EnvironmentRequest, EnvironmentEvent] = Endpoint(
    name="watch_environment", method="GET", path="/environments/{key}/events", request=EnvironmentRequest,
    response=EnvironmentEvent, roles=ALL_USERS, is_stream=True, summary="What its build says, until the build ends.",
)  # fmt: skip
REMOVE_ENVIRONMENT: Endpoint[EnvironmentRequest, EnvironmentView] = Endpoint(
    name="remove_environment", method="DELETE", path="/environments/{key}", request=EnvironmentRequest,
    response=EnvironmentView, timeout_s=JOB_TIMEOUT_S, roles=ADMINS,
    summary="Delete one that no live job uses. Whoever needs it again has it built again.",
    audited=Audited("environment.remove", ("key",)),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [
    CREATE_ENVIRONMENT,
    GET_ENVIRONMENTS,
    GET_ENVIRONMENT_LOG,
    WATCH_ENVIRONMENT,
    REMOVE_ENVIRONMENT,
]

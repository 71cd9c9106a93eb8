"""The stack itself."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.constants import ServiceStatus, ServiceType
from rafiki.contract.endpoint import ADMINS, AnyEndpoint, Empty, Endpoint
from rafiki.contract.inference_jobs import InferenceFigures


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str
    """Of Rafiki."""
    status: str
    """``ok``, or what is wrong: ``the cache cannot be reached``."""
    stack_id: str | None = None
    """Of the stack that it is the admin of: the one in ``stack.json`` in the stack's folder. None from earlier
    versions."""
    sandbox: str | None = None
    """What keeps model code apart: ``bubblewrap 0.8.0``; None = nothing, or an admin of an earlier version."""
    no_sandbox: str | None = None
    """Why nothing does."""
    notices: list[str] = []
    """What people should know though everything works: a disk that is nearly full, so that no trial starts."""


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """A started process (or container) of a job."""

    id: str
    service_type: ServiceType
    """What it does."""
    job_id: str
    app: str | None
    status: ServiceStatus
    error: str | None
    attempt: int
    """1, and one more for each restart."""
    gpus: list[str]
    """The GPUs that it was given, each as ``host/name``; the host of a stack on one machine is ``local``."""
    port: int | None
    """Where it listens; None where it does not."""
    pid: int | None
    """Process id; None when it is not known."""
    memory_bytes: int | None
    """Resident memory now, or a few seconds ago on another host; None when it is not known."""
    datetime_started: datetime
    last_error: str | None
    """Why the service that had its place before ended, where that was an error."""
    figures: InferenceFigures | None
    """Of a predictor: how much it serves."""
    name: str = ""
    """What people call it, as in ``train demo/1 SkDt#2``; a restart in its place keeps the name."""
    cores: float | None = None
    """How many processor cores it uses, on average over the last seconds; None when it is not known."""
    waits_for: str | None = None
    """What it waits for before its program begins: a node, or its image on a node."""
    host: str | None = None
    """The host that it runs on, where a back end has several; None for a process of the admin's machine."""


class ServicesEvent(msgspec.Struct, frozen=True, kw_only=True, tag="services"):
    """The live services of all jobs: at first, and when something of them has changed."""

    services: list[ServiceView]


class WaitView(msgspec.Struct, frozen=True, kw_only=True):
    """Workers that are wanted, and cannot be started now."""

    job_id: str
    app: str | None
    name: str
    """The name of the first of them."""
    count: int
    """How many wait."""
    of: int
    """How many are wanted for the model, or for the served trial."""
    reason: str
    """For people: ``no node has 8 GB free``."""
    is_lost: bool = False
    """Whether they do not wait, but cannot run at all, as those of a served trial whose parameters are damaged."""


GET_HEALTH: Endpoint[Empty, HealthView] = Endpoint(
    name="get_health", method="GET", path="/", request=Empty, response=HealthView, timeout_s=5.0, roles=None,
    summary="Whether the admin is up, and what it can reach.",
)  # fmt: skip
GET_SERVICES: Endpoint[Empty, list[ServiceView]] = Endpoint(
    name="get_services", method="GET", path="/services", request=Empty, response=list[ServiceView], roles=ADMINS,
    summary="The live services of all jobs.",
)  # fmt: skip
GET_WAITS: Endpoint[Empty, list[WaitView]] = Endpoint(
    name="get_waits", method="GET", path="/services/waiting", request=Empty, response=list[WaitView], roles=ADMINS,
    summary="Workers that are wanted and cannot be started now, and why.",
)  # fmt: skip
WATCH_SERVICES: Endpoint[Empty, ServicesEvent] = Endpoint(
    name="watch_services", method="GET", path="/services/events", request=Empty, response=ServicesEvent, roles=ADMINS,
    is_stream=True, summary="The live services of all jobs, again at each change; it has no end.",
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [GET_HEALTH, GET_SERVICES, GET_WAITS, WATCH_SERVICES]

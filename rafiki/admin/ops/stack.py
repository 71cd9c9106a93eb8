"""The stack itself."""

from __future__ import annotations

import rafiki
from rafiki.admin.context import AdminContext
from rafiki.admin.operation import bind, bind_open
from rafiki.admin.ops.inference_job_events import sum_up
from rafiki.admin.service_names import name_of, name_of_slot
from rafiki.constants import ServiceType
from rafiki.container.base import ServiceUsage
from rafiki.contract.endpoint import Empty
from rafiki.contract.stack import GET_HEALTH, GET_SERVICES, GET_WAITS, HealthView, ServiceView, WaitView
from rafiki.entities import Service, User
from rafiki.errors import CacheUnavailableError, InvalidRunningInferenceJobError, InvalidTrainJobError, MetaStoreError
from rafiki.messages import TrainWorkerSpec
from rafiki.sandbox.bubblewrap import why_no_sandbox


def find_problem(context: AdminContext) -> str | None:
    """What keeps the stack from its work, by what worked or failed lately; None when nothing does. Asks nothing."""
    errors = context.health.find_errors()
    # The supervisor runs into the same things; what only it knows is told beside them.
    same = (CacheUnavailableError, MetaStoreError) if errors else ()
    messages = [e.message for e in (*errors, *(e for e in context.supervisor.find_errors() if not isinstance(e, same)))]
    told = [m for m in messages if not any(other != m and other.startswith(m) for other in messages)]
    return " ".join(dict.fromkeys(told)) or None


def get_health(context: AdminContext, actor: User | None, request: Empty) -> HealthView:
    status = find_problem(context) or "ok"
    sandbox = _sandbox_of(context)
    shortage = context.disk.find_shortage()
    return HealthView(
        name="rafiki admin", version=rafiki.__version__, status=status, stack_id=context.stack_id, sandbox=sandbox,
        no_sandbox=why_no_sandbox(context.config.container) if sandbox is None else None,
        notices=[shortage] if shortage else [],
    )  # fmt: skip


def _sandbox_of(context: AdminContext) -> str | None:
    """What keeps model code apart from this machine."""
    if context.containers.is_elsewhere(TrainWorkerSpec.kind):
        return f"the back end {context.config.container.backend}"
    return context.sandbox.about if context.sandbox is not None else None


def get_services(context: AdminContext, actor: User, request: Empty) -> list[ServiceView]:
    return service_views(context)


def service_views(context: AdminContext) -> list[ServiceView]:
    """The live services of all jobs."""
    views = []
    live = context.store.services.list_live_services()
    ended = _last_errors(context, live)
    reports = context.supervisor.read_predictor_reports([s for s in live if s.service_type is ServiceType.PREDICT])
    told = context.supervisor.read_reports(live)
    waiting = context.containers.find_waiting(s.id for s in live)
    for s in live:
        report = told.get(s.id)
        nothing = ServiceUsage(pid=None, memory_bytes=None)
        usage = context.containers.usage(s.id, s.handle) if s.handle else nothing
        views.append(
            ServiceView(
                id=s.id, service_type=s.service_type, job_id=s.job_id,
                app=_app_of(context, s.service_type, s.job_id), status=s.status, error=s.error, attempt=s.attempt,
                gpus=[str(gpu) for gpu in s.gpus], port=s.port, pid=usage.pid,
                memory_bytes=usage.memory_bytes or (report.memory_bytes if report else None),
                cores=report.cores if report else None, waits_for=waiting.get(s.id),
                datetime_started=s.datetime_started, last_error=ended.get((s.service_type, s.unit_id, s.slot)),
                figures=sum_up([reports[s.id]]) if s.id in reports else None, name=name_of(context.store, s),
                host=usage.host,
            )
        )  # fmt: skip
    return views


def get_waits(context: AdminContext, actor: User, request: Empty) -> list[WaitView]:
    found = []
    for wait in context.supervisor.waits.list_waits():
        kind = wait.service_type
        found.append(
            WaitView(
                job_id=wait.job_id, app=_app_of(context, kind, wait.job_id),
                name=name_of_slot(context.store, kind, wait.job_id, wait.unit_id, 0), count=wait.count, of=wait.of,
                reason=wait.reason,
            )
        )  # fmt: skip
    for member in context.supervisor.losses.list_lost():
        name = name_of_slot(context.store, ServiceType.INFERENCE, member.job_id, member.trial_id, 0)
        found.append(
            WaitView(
                job_id=member.job_id, app=_app_of(context, ServiceType.INFERENCE, member.job_id), name=name,
                count=member.count, of=member.of, reason=member.reason, is_lost=True,
            )
        )  # fmt: skip
    return found


def _last_errors(context: AdminContext, live: list[Service]) -> dict[tuple[ServiceType, str, int], str]:
    """Why the service that had the place of a live one before ended, where that was an error."""
    found: dict[tuple[ServiceType, str, int], str] = {}
    for job_id in {s.job_id for s in live if s.attempt > 1}:
        for s in context.store.services.list_services(job_id):
            if s.error is not None:
                found[s.service_type, s.unit_id, s.slot] = s.error
    return found


def _app_of(context: AdminContext, service_type: ServiceType, job_id: str) -> str | None:
    try:
        if service_type in (ServiceType.TRAIN, ServiceType.ADVISOR):
            return context.store.train_jobs.get_train_job(job_id).app
        return context.store.inference_jobs.get_inference_job(job_id).app
    except (InvalidTrainJobError, InvalidRunningInferenceJobError):
        return None


OPERATIONS = [
    bind_open(GET_HEALTH, get_health),
    bind(GET_SERVICES, get_services),
    bind(GET_WAITS, get_waits),
]

"""Freeing what is not needed any more: looks, has it planned, and acts."""

from __future__ import annotations

import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from rafiki.admin.context import AdminContext
from rafiki.admin.garbage import (
    GarbageItem,
    Observed,
    ObservedEnvironment,
    ObservedLog,
    ObservedStore,
    plan_garbage,
)
from rafiki.admin.operation import bind
from rafiki.admin.ops.environments import used_environments, view_environments
from rafiki.constants import GarbageKind
from rafiki.contract.garbage import COLLECT_GARBAGE, CollectGarbageRequest, GarbageItemView, GarbageView
from rafiki.entities import SavedTrial, StoredFile, User
from rafiki.environments.state import EnvironmentStatus
from rafiki.errors import EnvironmentUsedError, InvalidServiceError, InvalidTrialError, RafikiError
from rafiki.service_names import ServiceNames
from rafiki.utils.clock import utc_now
from rafiki.utils.ids import short_id

_logger = logging.getLogger(__name__)

_SERVICE_LOG = re.compile(r"(advisor|train|predict|inference)-([0-9a-f-]{36})\.log(?:\.1)?")
_ENVIRONMENT_LOG = re.compile(r"environment-([0-9a-f]+)\.log(?:\.1)?")


def collect_garbage(context: AdminContext, actor: User, request: CollectGarbageRequest) -> GarbageView:
    what = None if request.what is None else frozenset(request.what)
    items = plan_garbage(_observe(context), what=what, keep=request.keep, older_than_s=request.older_than_s)
    if request.only is not None:
        shown = set(request.only)
        items = [item for item in items if item.id in shown]
    errors = {item.id: free_item(context, item) for item in items} if request.apply else {}
    views = [
        GarbageItemView(
            id=item.id, kind=item.kind, name=item.name, size_bytes=item.size_bytes, reason=item.reason,
            is_freed=request.apply and errors[item.id] is None, error=errors.get(item.id),
        )
        for item in items
    ]  # fmt: skip
    counted = [v for v in views if v.is_freed or not request.apply]
    size_bytes = sum(v.size_bytes for v in counted)
    if request.apply and counted:
        _logger.info("garbage: %s freed %d items, %s bytes", actor.email, len(counted), f"{size_bytes:,}")
    return GarbageView(is_applied=request.apply, items=views, size_bytes=size_bytes)


# ---- what is there


def _observe(context: AdminContext) -> Observed:
    store = context.store
    # Files before the records that refer to them: what is written meanwhile is not among the files.
    param_files, dataset_files = context.params.list_stored(), context.datasets.list_stored()
    live_jobs = store.train_jobs.list_live_train_jobs()
    served = {
        t.trial_id
        for job in store.inference_jobs.list_live_inference_jobs()
        for t in store.inference_jobs.list_served_trials(job.id)
    }
    trials = store.trials.list_saved_trials()
    kept_params = frozenset([*(t.params_id for t in trials), *store.trials.list_checkpoint_ids()])
    datasets = {d.store_id for user in store.users.list_users() for d in store.datasets.list_datasets(user.id)}
    return Observed(
        now=utc_now(),
        trials=trials,
        served_trial_ids=frozenset(served),
        last_served_trial_ids=frozenset(store.inference_jobs.list_last_served_trial_ids()),
        stores=[
            ObservedStore(
                name="params", files=param_files, referred=kept_params,
                is_ours_alone=context.folder.holds(context.params.location),
            ),
            ObservedStore(
                name="datasets", files=dataset_files, referred=frozenset(datasets),
                is_ours_alone=context.folder.holds(context.datasets.location),
            ),
        ],
        environments=[
            ObservedEnvironment(
                key=e.key, requirements=e.requirements, size_bytes=e.size_bytes or 0, datetime_built=e.datetime_built,
                n_models=e.n_models, is_in_use=e.is_in_use,
            )
            for e in view_environments(context)
            if e.status == EnvironmentStatus.READY and e.datetime_built is not None
        ],
        logs=_observe_logs(context),
        oldest_live_job_started=min((j.datetime_started for j in live_jobs), default=None),
    )  # fmt: skip


def _observe_logs(context: AdminContext) -> list[ObservedLog]:
    live = {s.id for s in context.store.services.list_live_services()}
    environments = {e.key for e in context.environments.list_environments()}
    names = ServiceNames(context.folder.logs).read()
    found = []
    with os.scandir(context.folder.logs) as entries:
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            ended: datetime | None = None
            if m := _SERVICE_LOG.fullmatch(entry.name):
                of = names[m[2]].name if m[2] in names else f"{m[1]} {short_id(m[2])}"
                is_live = m[2] in live
                ended = None if is_live else _ended(context, m[2])
            elif m := _ENVIRONMENT_LOG.fullmatch(entry.name):
                of, is_live = f"environment {m[1]}", m[1] in environments
            else:
                continue
            found.append(
                ObservedLog(
                    name=entry.name, size_bytes=stat.st_size, of=of, is_live=is_live, datetime_ended=ended,
                    datetime_modified=datetime.fromtimestamp(stat.st_mtime, UTC),
                )
            )  # fmt: skip
    return found


def _ended(context: AdminContext, service_id: str) -> datetime | None:
    try:
        return context.store.services.get_service(service_id).datetime_stopped
    except InvalidServiceError:
        return None


# ---- effects


def free_item(context: AdminContext, item: GarbageItem) -> str | None:
    """Free one thing; returns why it could not be."""
    try:
        match item.kind, item.target:
            case GarbageKind.PARAMS, SavedTrial():
                # The record first: a file without a record is found again, a record without its file would be served.
                if not context.store.trials.free_params(item.target.id, item.target.params_id):
                    raise InvalidTrialError("It has been deployed, or freed, meanwhile.")
                context.params.delete(item.target.params_id)
            case GarbageKind.ENVIRONMENTS, str():
                if item.target in used_environments(context):
                    raise EnvironmentUsedError("A live job runs in it by now.")
                context.environments.remove(item.target)
            case GarbageKind.LOGS, str():
                (Path(context.folder.logs) / item.target).unlink(missing_ok=True)
            case GarbageKind.ORPHANS, StoredFile():
                files = context.params if item.store == "params" else context.datasets
                (files.delete_half_written if item.target.is_half_written else files.delete)(item.target.id)
    except RafikiError as e:
        return e.message
    except OSError as e:
        return f"{e.strerror or e}."
    return None


OPERATIONS = [
    bind(COLLECT_GARBAGE, collect_garbage),
]

"""How many workers an inference job has: the limits between which the load decides, and what it has decided."""

from __future__ import annotations

import msgspec

from rafiki.admin.context import AdminContext
from rafiki.budget import InferenceBudget
from rafiki.contract.inference_jobs import (
    InferenceJobScaledView,
    ScaledMemberView,
    ScaleInferenceJobRequest,
    ScalingChangeView,
    ScalingView,
)
from rafiki.deployment import Deployment, Replicas
from rafiki.entities import InferenceJob
from rafiki.errors import InvalidInferenceJobError


def scaling_view(context: AdminContext, job: InferenceJob) -> ScalingView | None:
    """What was decided for a job; None where nothing is."""
    scaled = context.supervisor.scaling.find(job.id)
    if scaled is None:
        return None
    return ScalingView(
        members=[
            ScaledMemberView(trial_id=m.trial_id, label=m.label, wanted=m.wanted, reason=m.reason, start_s=m.start_s)
            for m in scaled.members
        ],
        changes=[
            ScalingChangeView(
                datetime_changed=c.at, trial_id=c.trial_id, label=c.label, before=c.change.before,
                after=c.change.after, reason=c.change.reason,
            )
            for c in scaled.changes
        ],
        is_asleep=not any(m.wanted for m in scaled.members),
    )  # fmt: skip


def check_replicas(budget: InferenceBudget, deployment: Deployment | None) -> None:
    """
    Raises:
        InvalidInferenceJobError: the number of workers is given twice, or its limits do not fit together.
    """
    if deployment is None or deployment.replicas is None:
        return
    if (problem := deployment.replicas.problem) is not None:
        raise InvalidInferenceJobError(f"Replicas: {problem}")
    if budget.replica_count > 1:
        raise InvalidInferenceJobError(
            f"REPLICA_COUNT is {budget.replica_count}, and `replicas` says {deployment.replicas}: give one of them."
        )


def settle_replicas(
    before: InferenceBudget, given: InferenceBudget | None, deployment: Deployment, asked: Deployment | None
) -> tuple[InferenceBudget, Deployment]:
    """The number of workers after an update: what it says takes the place of what held before, a number or limits.

    Args:
        before, given: the budget that held, and that of the update.
        deployment, asked: how it is to serve, with what stays as it was; and what of that the update says.

    Raises:
        InvalidInferenceJobError: the number of workers is given twice, or its limits do not fit together.
    """
    budget = given or before
    if asked is not None and asked.replicas is not None and given is None:
        budget = msgspec.structs.replace(before, replica_count=1)
    elif given is not None and given.replica_count > 1 and (asked is None or asked.replicas is None):
        deployment = msgspec.structs.replace(deployment, replicas=None)
    check_replicas(budget, deployment)
    return budget, deployment


def sleep_warnings(context: AdminContext, job: InferenceJob) -> list[str]:
    """That a start takes longer than a query waits, where an app may sleep; as far as a start was seen."""
    limits = job.deployment.replicas
    scaled = context.supervisor.scaling.find(job.id)
    if limits is None or limits.min or scaled is None:
        return []
    budget_ms = job.deployment.latency_budget_ms
    budget_s = budget_ms / 1000 if budget_ms else context.config.predictor.deadline_s
    start_s = max((m.start_s for m in scaled.members if m.start_s is not None), default=0.0)
    if start_s <= budget_s:
        return []
    return [
        f"A start of its workers took {start_s:.1f} s, and a query waits for {budget_s:g} s at most: the first ones "
        f"after {limits.idle_s:g} s without any will be refused (503, with Retry-After). With min 1 a worker stays."
    ]


def scale(context: AdminContext, job: InferenceJob, request: ScaleInferenceJobRequest) -> InferenceJobScaledView:
    """Give a live job other limits."""
    count = job.budget.replica_count
    now = job.deployment.replicas or Replicas(min=count, max=count)
    low = now.min if request.min is None else request.min
    # One number that is given alone may move the other.
    high = request.max if request.max is not None else max(now.max, low, 1)
    if request.min is None:
        low = min(low, high)
    wanted = Replicas(min=low, max=high, idle_s=now.idle_s if request.idle_s is None else request.idle_s)
    if (problem := wanted.problem) is not None:
        raise InvalidInferenceJobError(f"Replicas: {problem}")
    job = context.store.inference_jobs.set_replicas(job.id, wanted)
    context.supervisor.wake()
    return InferenceJobScaledView(
        id=job.id, app=job.app, app_version=job.app_version, replicas=wanted, warnings=sleep_warnings(context, job)
    )

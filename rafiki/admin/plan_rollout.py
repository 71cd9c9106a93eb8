"""What is to be done for one update. Pure."""

from __future__ import annotations

from collections.abc import Collection

from rafiki.admin.actions import Action, EndRollout, ServedJob, Serving, StartRollout
from rafiki.admin.observed import ObservedInferenceJob, ObservedRollout
from rafiki.constants import InferenceJobStatus, RolloutKind, RolloutOrder, RolloutStatus, ServingRole
from rafiki.entities import Rollout
from rafiki.rollouts import Comparison, RollbackRules


def plan_rollout(seen: ObservedRollout) -> list[Action]:
    """The next step of an update; none while it waits for workers, for figures or for somebody's order."""
    rollout, before, after = seen.rollout, seen.before, seen.after
    if before.status is InferenceJobStatus.ERRORED and after.status is InferenceJobStatus.RUNNING:
        return [_end(seen, RolloutStatus.PROMOTED, f"The version before cannot serve any more: {before.error}")]
    if before.status not in _LIVE or before.datetime_stop_requested is not None:
        return [_end(seen, RolloutStatus.ERRORED, "The app was stopped.")]
    if after.status is InferenceJobStatus.ERRORED:
        return [_end(seen, RolloutStatus.ERRORED, after.error or "The new version cannot run.")]
    if after.status not in _LIVE or after.datetime_stop_requested is not None:
        return [_end(seen, RolloutStatus.ROLLED_BACK, "The new version was stopped.")]
    if rollout.ordered is RolloutOrder.ROLL_BACK:
        return [_end(seen, RolloutStatus.ROLLED_BACK, "Rolled back as ordered.")]
    if (broken := _find_broken(seen)) is not None:
        return [_end(seen, RolloutStatus.ROLLED_BACK, broken)]
    is_ready = rollout.status is RolloutStatus.RUNNING or after.status is InferenceJobStatus.RUNNING
    if not is_ready:
        return []
    if rollout.ordered is RolloutOrder.PROMOTE:
        return [_end(seen, RolloutStatus.PROMOTED, "Promoted as ordered.")]
    if rollout.kind is RolloutKind.REPLACE:
        return [_end(seen, RolloutStatus.PROMOTED, None)]
    return [StartRollout(rollout=rollout)] if rollout.status is RolloutStatus.STARTED else []


_LIVE = (InferenceJobStatus.STARTED, InferenceJobStatus.RUNNING)


def _end(seen: ObservedRollout, status: RolloutStatus, reason: str | None) -> EndRollout:
    return EndRollout(rollout=seen.rollout, status=status, reason=reason, comparison=seen.comparison)


def _find_broken(seen: ObservedRollout) -> str | None:
    """Why the update is to be taken back by itself; None where no rule is broken."""
    rollout = seen.rollout
    if rollout.status is RolloutStatus.STARTED:
        return _find_worse_score(rollout.rules, *seen.scores)
    return find_broken_rule(rollout.rules, seen.comparison)


def _find_worse_score(rules: RollbackRules, before: float | None, after: float | None) -> str | None:
    if rules.score is None or before is None:
        return None
    if after is None:
        return "Its validation score is not known, and rollback.score asks for one."
    if after >= before - rules.score:
        return None
    told = f"Its validation score is {after:.4f}, that of the version before {before:.4f}"
    return f"{told} (rollback.score {rules.score:g})."


def find_broken_rule(rules: RollbackRules, found: Comparison) -> str | None:
    """Which rule the figures of an update break, as a sentence; None while there are too few to judge."""
    before, after = found.before, found.after
    if rules.disagreement is not None and found.compared >= rules.min_requests:
        share = (found.compared - found.agreed) / found.compared
        if share > rules.disagreement:
            return (
                f"{share:.1%} of {found.compared} compared answers say something else "
                f"(rollback.disagreement {rules.disagreement:.1%})."
            )
    if after.requests < rules.min_requests:
        return None
    if rules.errors is not None and after.error_share > before.error_share + rules.errors:
        return (
            f"{after.error_share:.1%} of its {after.requests} requests failed, of the version before "
            f"{before.error_share:.1%} (rollback.errors {rules.errors:.1%})."
        )
    if rules.latency_ms is None or after.p99_ms is None or before.p99_ms is None:
        return None
    if after.p99_ms > before.p99_ms + rules.latency_ms:
        return (
            f"Its 99th percentile of latencies is {after.p99_ms:.0f} ms, that of the version before "
            f"{before.p99_ms:.0f} ms (rollback.latency_ms {rules.latency_ms:g})."
        )
    return None


def plan_serving(jobs: list[ObservedInferenceJob], rollouts: list[Rollout], unready: Collection[str]) -> list[Serving]:
    """What each predictor is to serve. An address without anybody who answers is left as it is.

    Args:
        unready: the jobs whose new members are not ready to take the places of those of before.
    """
    of_job = {r.to_job_id: r for r in rollouts}
    fronts: dict[str, list[ObservedInferenceJob]] = {}
    for seen in jobs:
        fronts.setdefault(seen.job.front, []).append(seen)
    found = []
    for front_id, behind in fronts.items():
        primary = next((s for s in behind if s.job.role is ServingRole.PRIMARY), None)
        if primary is None or primary.job.datetime_stop_requested is not None:
            continue
        others = [s for s in behind if s is not primary]
        served = [_served(s, of_job.get(s.job.id), unready) for s in [primary, *others]]
        found.append(Serving(front_id=front_id, jobs=tuple(served)))
    return found


def _served(seen: ObservedInferenceJob, rollout: Rollout | None, unready: Collection[str]) -> ServedJob:
    job = seen.job
    is_tried = rollout is not None and rollout.status is RolloutStatus.RUNNING and job.role is ServingRole.CANDIDATE
    kind = rollout.kind if rollout is not None and is_tried else None
    return ServedJob(
        job_id=job.id, trial_ids=tuple(seen.trial_ids),
        share=rollout.share if rollout is not None and kind is RolloutKind.CANARY else 0.0,
        is_shadow=kind is RolloutKind.SHADOW, is_leaving=job.role is ServingRole.LEAVING,
        keeps_members=job.id in unready,
        may_sleep=(limits := job.deployment.replicas) is not None and not limits.min,
    )  # fmt: skip

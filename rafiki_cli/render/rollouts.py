"""Updates of deployments, for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rafiki.constants import RolloutKind, RolloutStatus, ServingRole
from rafiki.utils.clock import Deadline
from rafiki.utils.shares import share_text
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, time_column

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.inference_jobs import InferenceJobView
    from rafiki.contract.rollouts import RolloutView

LIVE = (RolloutStatus.STARTED, RolloutStatus.RUNNING)


def what(rollout: RolloutView) -> str:
    """``v1 -> v2 canary 10%``."""
    share = f" {share_text(rollout.share)}" if rollout.kind == RolloutKind.CANARY else ""
    kind = "rollback" if rollout.is_rollback else rollout.kind
    return f"v{rollout.from_version} -> v{rollout.to_version} {kind}{share}"


def figures(rollout: RolloutView) -> str:
    """``v1: 900 requests, 0.0% errors, p99 12 ms; v2: 100 requests, ...``; empty before anything is known."""
    found = rollout.comparison
    if found is None:
        return ""
    sides = []
    for version, side in ((rollout.from_version, found.before), (rollout.to_version, found.after)):
        p99 = f", p99 {side.p99_ms:.3g} ms" if side.p99_ms is not None else ""
        sides.append(f"v{version}: {side.requests:,} requests, {side.error_share:.1%} errors{p99}")
    if found.compared:
        sides.append(f"{found.agreed / found.compared:.1%} of {found.compared:,} answers agree")
    return "; ".join(sides)


def brief(job: InferenceJobView) -> str | None:
    """What goes on with an inference job; None where nothing does, and nothing went wrong."""
    update = job.update
    if update is None or job.role == ServingRole.LEAVING:
        return "leaving" if job.role == ServingRole.LEAVING and job.datetime_stopped is None else None
    if update.status in LIVE:
        return f"{what(update)}: {_state(update)}"
    if update.status == RolloutStatus.PROMOTED:
        return None
    return f"{what(update)}: {update.status} {update.reason or ''}".rstrip()


def _state(rollout: RolloutView) -> str:
    if rollout.status == RolloutStatus.STARTED:
        return f"starts ({rollout.reason})" if rollout.reason else "starts"
    return figures(rollout) or "runs"


def sentence(rollout: RolloutView) -> str:
    """What became of an update, or what can be done."""
    app, before, after = rollout.app, rollout.from_version, rollout.to_version
    reason = f" {rollout.reason}" if rollout.reason else ""
    seen = f" {figures(rollout)}." if rollout.comparison else ""
    match rollout.status:
        case RolloutStatus.STARTED:
            waits = f" It waits: {rollout.reason}." if rollout.reason else ""
            return f"{app} v{after} starts; v{before} answers until it is ready.{waits}"
        case RolloutStatus.RUNNING:
            does = (
                f"answers {share_text(rollout.share)} of the requests"
                if rollout.kind == RolloutKind.CANARY
                else "is asked with copies"
            )
            then = f"`rafiki infer promote {app}` or `rafiki infer rollback {app}` ends that."
            return f"{app} v{after} {does}, v{before} answers.{seen} {then}"
        case RolloutStatus.PROMOTED:
            told = "is back" if rollout.is_rollback else "answers all requests"
            return f"{app} v{after} {told}, at the same address; v{before} has left.{reason}{seen}"
        case RolloutStatus.ROLLED_BACK:
            return f"{app} v{after} was taken back, v{before} answers.{reason}{seen}"
        case _:
            return f"The update of {app} to v{after} failed.{reason}"


COLUMNS: list[Column[RolloutView]] = [
    Column("UPDATE", what, least=16),
    Column("STATUS", lambda r: r.status),
    time_column("STARTED", lambda r: r.datetime_started, rank=1),
    time_column("ENDED", lambda r: r.datetime_stopped, rank=2, is_hidden_empty=True),
    Column("FIGURES", lambda r: figures(r) or None, least=20, is_hidden_empty=True),
    Column("REASON", lambda r: r.reason, least=20, is_hidden_empty=True),
]


def wait_until_ready(
    client: AdminClient, rollout: RolloutView, timeout_s: float, say: Callable[[str], None]
) -> RolloutView:
    """The update once the new version answers, is tried, or has failed; as it stands when the time is over."""
    from rafiki.utils.process import wait_until

    found = rollout
    told = ""

    def is_ready() -> bool:
        nonlocal found, told
        if found.status != RolloutStatus.STARTED:
            return True
        found = next(r for r in client.get_rollouts(rollout.app) if r.id == rollout.id)
        if found.reason and found.reason != told and found.status == RolloutStatus.STARTED:
            told = found.reason
            say(values.one_line(f"It waits: {told}"))
        return found.status != RolloutStatus.STARTED

    wait_until(is_ready, Deadline(timeout_s))
    return found

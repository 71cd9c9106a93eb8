"""How many workers a deployment has by its load, as it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rafiki_cli.render import values

if TYPE_CHECKING:
    from rafiki.contract.inference_jobs import InferenceJobView, ScalingChangeView

_SHOWN = 5
"""Changes that are shown at once."""


def is_asleep(job: InferenceJobView) -> bool:
    """Whether a job has no workers, as nobody has asked."""
    return job.scaling is not None and job.scaling.is_asleep


def replicas_text(job: InferenceJobView) -> str | None:
    """``1 to 4``, and a line a member: ``svm#2: 3 wanted (queue of 160 ms at a budget of 200 ms)``."""
    limits = job.deployment.replicas
    if limits is None:
        return None
    lines = [str(limits)]
    for member in job.scaling.members if job.scaling else []:
        why = f" ({member.reason})" if member.reason else ""
        lines.append(f"{member.label}: {member.wanted} wanted{why}")
    return "\n".join(lines)


def change_text(change: ScalingChangeView) -> str:
    """``svm#2: 2 -> 3, queue of 160 ms at a budget of 200 ms``."""
    return f"{change.label}: {change.before} -> {change.after}, {change.reason}"


def changes_text(job: InferenceJobView) -> str | None:
    """The last changes, a line each; the latest one first."""
    changes = job.scaling.changes if job.scaling else []
    return "\n".join(f"{values.local_time(c.datetime_changed)}  {change_text(c)}" for c in changes[: -_SHOWN - 1 : -1])

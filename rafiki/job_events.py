"""What happens to jobs that others may be told of: the names of the events, and the patterns that choose among them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from rafiki.utils.nearest import did_you_mean

ALL = "*"


class JobEvent(StrEnum):
    """The part before the dot is the noun; ``noun.*`` chooses all of it."""

    TRAIN_JOB_STARTED = "train_job.started"
    """A train job was made."""
    TRAIN_JOB_ENDED = "train_job.ended"
    """Its budget is used up, its search is over, or it was stopped."""
    TRAIN_JOB_FAILED = "train_job.failed"
    """It is ERRORED: no model of it could be searched."""
    TRIAL_COMPLETED = "trial.completed"
    TRIAL_FAILED = "trial.failed"
    TRIAL_BEST = "trial.best"
    """A trial was completed with a better score than all before it in its train job."""
    INFERENCE_JOB_STARTED = "inference_job.started"
    """An inference job was made."""
    INFERENCE_JOB_RUNNING = "inference_job.running"
    """It answers queries."""
    INFERENCE_JOB_STOPPED = "inference_job.stopped"
    INFERENCE_JOB_FAILED = "inference_job.failed"
    ROLLOUT_STARTED = "rollout.started"
    """An app is to go over to another version."""
    ROLLOUT_PROMOTED = "rollout.promoted"
    """It has."""
    ROLLOUT_ROLLED_BACK = "rollout.rolled_back"
    """It has not: somebody, or a rule, took the new version back."""
    ROLLOUT_FAILED = "rollout.failed"
    """The new version could not be tried."""
    WEBHOOK_TEST = "webhook.test"
    """Somebody tries out a webhook; goes to it alone."""


OFFERED = [event for event in JobEvent if event is not JobEvent.WEBHOOK_TEST]
"""Those that can be chosen."""
DEFAULT = ["train_job.*", JobEvent.TRIAL_BEST.value, "inference_job.*", "rollout.*"]
"""What is told where nobody chose: not every trial."""


def patterns_of(event: JobEvent) -> list[str]:
    """The patterns that choose an event."""
    return [event.value, f"{event.value.partition('.')[0]}.{ALL}", ALL]


def why_no_patterns(patterns: Iterable[str]) -> str | None:
    """What is wrong with a choice of events; None when each pattern chooses at least one."""
    listed = list(patterns)
    known = list(dict.fromkeys(pattern for event in OFFERED for pattern in patterns_of(event)))
    if not listed:
        return f"names no event. There are: {', '.join(OFFERED)}."
    for pattern in listed:
        if pattern not in known:
            hint = did_you_mean(pattern, known)
            return f"{pattern!r} is no event. {f'{hint} ' if hint else ''}There are: {', '.join(known)}."
    return None

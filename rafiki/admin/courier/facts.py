"""What receivers are told of jobs and trials, from the records."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from rafiki import states
from rafiki.constants import TrialStatus
from rafiki.entities import TrainJob, Trial
from rafiki.errors import RafikiError
from rafiki.meta_store import MetaStore
from rafiki.model.logs import parse_logs
from rafiki.param_store.base import ParamStore
from rafiki.trackers import TrackedJob, TrackedTrial
from rafiki.trackers.base import TrackedPoint
from rafiki.utils.values import JsonValue

MOST_LOG_LINES = 10_000
"""Of a trial that are read: what a training logs has no bound."""
_STEPS = ("step", "epoch", "iteration", "batch")
"""Names of a logged number that counts the others' steps."""
INTERMEDIATE_SCORE = "intermediate_score"


def track_job(store: MetaStore, job: TrainJob) -> TrackedJob:
    """A train job as trackers are told of it."""
    subs = store.train_jobs.list_sub_train_jobs(job.id)
    counts = [store.trials.count_trials(sub.id) for sub in subs]
    best = store.trials.list_best_trials(job.id, max_count=1)
    budget = msgspec.to_builtins(job.budget)
    params = {
        "task": job.task,
        "models": ", ".join(sub.model_ref for sub in subs),
        "train_dataset_id": job.train_dataset_id,
        "val_dataset_id": job.val_dataset_id,
        **{str(name).lower(): str(value) for name, value in budget.items()},
    }
    if job.train_args:
        params["train_args"] = msgspec.json.encode(job.train_args).decode()
    return TrackedJob(
        id=job.id, app=job.app, app_version=job.app_version, user=store.users.get_user(job.user_id).email,
        task=job.task, params=params, datetime_started=job.datetime_started, datetime_stopped=job.datetime_stopped,
        outcome=states.find_outcome(job.status, job.datetime_stop_requested), error=job.error,
        best_score=best[0].score if best else None,
        n_completed=sum(c[TrialStatus.COMPLETED] for c in counts),
        n_failed=sum(c[TrialStatus.ERRORED] for c in counts),
    )  # fmt: skip


def track_trial(store: MetaStore, params: ParamStore | None, trial: Trial) -> TrackedTrial:
    """A trial as trackers are told of it.

    Args:
        params: where its parameters are, where they are to be told too.
    """
    ended = trial.datetime_stopped or trial.datetime_started
    # When an intermediate score was reported is not kept.
    reports = [
        TrackedPoint(INTERMEDIATE_SCORE, r.score, round(r.step), ended)
        for r in store.trials.list_reports_of_trial(trial.id)
    ]
    reader = None
    if params is not None and trial.params_id is not None:
        reader = _reader(params, trial.params_id)
    return TrackedTrial(trial=trial, points=[*_logged(store, trial), *reports], read_params=reader)


def _logged(store: MetaStore, trial: Trial) -> list[TrackedPoint]:
    lines = store.trials.list_trial_logs(trial.id, limit=MOST_LOG_LINES)
    counts: dict[str, int] = {}
    found = []
    for values in parse_logs(line.entry for line in lines).metrics:
        time = _time(values.get("time"), trial)
        numbers = {name: _number(value) for name, value in values.items() if name != "time"}
        given = next((numbers[name] for name in _STEPS if name in numbers), None)
        for name, value in numbers.items():
            counts[name] = counts.get(name, -1) + 1
            step = counts[name] if given is None or not math.isfinite(given) else round(given)
            found.append(TrackedPoint(name, value, step, time))
    return found


def _number(value: JsonValue) -> float:
    # What is no finite number is logged as a word that float() reads.
    return float(value) if isinstance(value, (int, float, str)) else math.nan


def _time(text: JsonValue, trial: Trial) -> datetime:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return trial.datetime_started
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _reader(params: ParamStore, params_id: str) -> Callable[[], Iterator[bytes]] | None:
    """None when the parameters have been freed meanwhile."""
    try:
        pieces = params.read(params_id)
        first = next(pieces, b"")
    except RafikiError:
        return None
    return lambda: itertools.chain([first], pieces)

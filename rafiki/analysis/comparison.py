"""Train jobs side by side: what each is and reached, where they differ, and by how much. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import msgspec

from rafiki.analysis.curves import best_so_far, best_trial
from rafiki.budget import TrainBudget
from rafiki.constants import TrainJobOutcome, TrainJobStatus, TrialStatus
from rafiki.contract.train_jobs import TrainJobView, TrialView
from rafiki.knob_specs import Knobs
from rafiki.search_setting import AdvisorSetting
from rafiki.states import find_outcome
from rafiki.utils.ids import trial_label
from rafiki.utils.values import JsonObject
from rafiki.utils.words import between


class DatasetName(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    """Its id where it has no name."""


class TrialCounts(msgspec.Struct, frozen=True, kw_only=True):
    completed: int
    ended_early: int
    """Of those that are completed."""
    failed: int
    running: int


class BestTrial(msgspec.Struct, frozen=True, kw_only=True):
    trial_id: str
    model_name: str
    model_version: int = 1
    no: int
    score: float | None
    knobs: Knobs

    @property
    def label(self) -> str:
        """``wine#4``."""
        return trial_label(self.model_name, self.model_version, self.no)


class JobSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A train job, and what it reached."""

    app: str
    app_version: int
    status: TrainJobStatus
    outcome: TrainJobOutcome | None
    """How it ended: COMPLETED where nobody stopped it."""
    error: str | None
    task: str
    train_dataset: DatasetName
    val_dataset: DatasetName
    budget: TrainBudget
    advisor: AdvisorSetting
    train_args: JsonObject
    models: list[str]
    duration_s: float | None
    """None while it goes on."""
    trials: TrialCounts
    best: BestTrial | None
    time_to_best_s: float | None
    median_trial_s: float | None
    best_so_far: list[float | None]
    """After each completed trial, in the order in which they ended."""


class Deltas(msgspec.Struct, frozen=True, kw_only=True):
    """This minus the first; None where one of them is unknown."""

    score: float | None
    time_to_best_s: float | None
    median_trial_s: float | None


class ComparedJob(JobSummary, frozen=True, kw_only=True):
    """A train job, and what sets it apart from the first."""

    delta: Deltas
    differs: list[str]
    """Names of settings, and ``best.model`` and ``knobs.NAME`` of the best trials."""


def describe(job: TrainJobView, trials: Sequence[TrialView], dataset_names: Mapping[str, str]) -> JobSummary:
    """One train job with what it reached.

    Args:
        dataset_names: names by id; a dataset without one is told by its id.
    """
    completed = [t for t in trials if t.status == TrialStatus.COMPLETED]
    scored = [t for t in completed if t.score is not None and math.isfinite(t.score)]
    best = best_trial(scored)
    times = [s for t in completed if (s := between(t.datetime_started, t.datetime_stopped)) is not None]
    ended = sorted(scored, key=lambda t: t.datetime_stopped or t.datetime_started)
    return JobSummary(
        app=job.app, app_version=job.app_version, status=job.status,
        outcome=find_outcome(job.status, job.datetime_stop_requested), error=job.error, task=job.task,
        train_dataset=_dataset(job.train_dataset_id, dataset_names),
        val_dataset=_dataset(job.val_dataset_id, dataset_names),
        budget=job.budget, advisor=job.advisor, train_args=job.train_args,
        models=[m.model_ref for m in job.models],
        duration_s=between(job.datetime_started, job.datetime_stopped),
        trials=TrialCounts(
            completed=len(completed),
            ended_early=sum(bool(t.ended_early) for t in completed),
            failed=sum(t.status == TrialStatus.ERRORED for t in trials),
            running=sum(t.status in (TrialStatus.RUNNING, TrialStatus.PENDING) for t in trials),
        ),
        best=None if best is None else BestTrial(
            trial_id=best.id, model_name=best.model_name, model_version=best.model_version, no=best.no,
            score=best.score, knobs=best.proposal.knobs,
        ),
        time_to_best_s=between(job.datetime_started, best.datetime_stopped) if best else None,
        median_trial_s=statistics.median(times) if times else None,
        best_so_far=best_so_far([t.score for t in ended]),
    )  # fmt: skip


def name_of(job: JobSummary) -> str:
    """``digits@2``."""
    return f"{job.app}@{job.app_version}"


def _dataset(id: str, names: Mapping[str, str]) -> DatasetName:
    return DatasetName(id=id, name=names.get(id, id))


_SETTINGS = (
    "status", "task", "train_dataset", "val_dataset", "budget", "advisor", "train_args", "models",
)  # fmt: skip


def compare(jobs: Sequence[JobSummary]) -> list[ComparedJob]:
    """The jobs of :func:`describe`, each with what sets it apart from the first."""
    first = jobs[0]
    return [
        ComparedJob(
            **{n: getattr(job, n) for n in JobSummary.__struct_fields__},
            delta=_delta(first, job),
            differs=_differs(first, job),
        )
        for job in jobs
    ]


def differing(jobs: Sequence[JobSummary]) -> set[str]:
    """What differs between any of the jobs."""
    return {name for job in jobs for name in _differs(jobs[0], job)}


def knob_names(jobs: Sequence[JobSummary]) -> list[str]:
    """The knobs of all best trials, in the order in which they come."""
    return list(dict.fromkeys(name for job in jobs if job.best for name in job.best.knobs))


def best_score(job: JobSummary) -> float | None:
    return job.best.score if job.best else None


def _delta(first: JobSummary, job: JobSummary) -> Deltas:
    return Deltas(
        score=_less(best_score(job), best_score(first)),
        time_to_best_s=_less(job.time_to_best_s, first.time_to_best_s),
        median_trial_s=_less(job.median_trial_s, first.median_trial_s),
    )


def _less(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours - theirs


def _differs(first: JobSummary, job: JobSummary) -> list[str]:
    found = [name for name in _SETTINGS if getattr(job, name) != getattr(first, name)]
    if job.outcome != first.outcome and "status" not in found:
        found.insert(0, "status")
    ours, theirs = job.best, first.best
    if ours is None or theirs is None:
        return found
    if (ours.model_name, ours.model_version) != (theirs.model_name, theirs.model_version):
        found.append("best.model")
    missing = object()
    found += [
        f"knobs.{name}"
        for name in knob_names([first, job])
        if ours.knobs.get(name, missing) != theirs.knobs.get(name, missing)
    ]
    return found

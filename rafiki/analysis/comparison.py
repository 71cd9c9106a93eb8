"""Train jobs side by side: what each is and reached, where they differ, and by how much. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rafiki.analysis.curves import best_so_far, best_trial
from rafiki.constants import TrialStatus
from rafiki.utils.words import between

Json = dict[str, Any]
Row = Mapping[str, Any]


def describe(job: Row, trials: Sequence[Row], dataset_names: Mapping[str, str]) -> Json:
    """One train job as plain values.

    Args:
        dataset_names: names by id; a dataset without one is told by its id.
    """
    completed = [t for t in trials if t["status"] == TrialStatus.COMPLETED]
    scored = [t for t in completed if t["score"] is not None and math.isfinite(t["score"])]
    best = best_trial(scored)
    times = [s for t in completed if (s := between(t["datetime_started"], t["datetime_stopped"])) is not None]
    ended = sorted(scored, key=lambda t: t["datetime_stopped"] or t["datetime_started"])
    return {
        "app": job["app"], "app_version": job["app_version"], "status": job["status"], "error": job["error"],
        "task": job["task"],
        "train_dataset": _dataset(job["train_dataset_id"], dataset_names),
        "val_dataset": _dataset(job["val_dataset_id"], dataset_names),
        "budget": job["budget"], "advisor": job.get("advisor") or {}, "train_args": job["train_args"],
        "models": [m["model_name"] for m in job["models"]],
        "duration_s": between(job["datetime_started"], job["datetime_stopped"]),
        "trials": {
            "completed": len(completed),
            "ended_early": sum(bool(t.get("ended_early")) for t in completed),
            "failed": sum(t["status"] == TrialStatus.ERRORED for t in trials),
            "running": sum(t["status"] in (TrialStatus.RUNNING, TrialStatus.PENDING) for t in trials),
        },
        "best": best and {
            "trial_id": best["id"], "model_name": best["model_name"], "no": best["no"], "score": best["score"],
            "knobs": best["proposal"].get("knobs") or {},
        },
        "time_to_best_s": between(job["datetime_started"], best["datetime_stopped"]) if best else None,
        "median_trial_s": statistics.median(times) if times else None,
        "best_so_far": best_so_far([t["score"] for t in ended]),
    }  # fmt: skip


def name_of(job: Json) -> str:
    """``digits@2``."""
    return f"{job['app']}@{job['app_version']}"


def _dataset(id: str, names: Mapping[str, str]) -> Json:
    return {"id": id, "name": names.get(id, id)}


_MEASURES = ("score", "time_to_best_s", "median_trial_s")
_SETTINGS = (
    "status", "task", "train_dataset", "val_dataset", "budget", "advisor", "train_args", "models",
)  # fmt: skip


def compare(jobs: Sequence[Json]) -> list[Json]:
    """The jobs of :func:`describe`, each with what sets it apart from the first.

    Returns:
        Each job with ``delta`` (of the best score and of the times, this minus the first; None where one of them is
        unknown) and ``differs``: the names of settings, and ``best.model`` and ``knobs.NAME`` of the best trials.
    """
    first = jobs[0]
    return [{**job, "delta": _delta(first, job), "differs": _differs(first, job)} for job in jobs]


def differing(jobs: Sequence[Json]) -> set[str]:
    """What differs between any of the jobs."""
    return {name for job in jobs for name in _differs(jobs[0], job)}


def knob_names(jobs: Sequence[Json]) -> list[str]:
    """The knobs of all best trials, in the order in which they come."""
    return list(dict.fromkeys(name for job in jobs if job["best"] for name in job["best"]["knobs"]))


def measure(job: Json, name: str) -> float | None:
    """One of the numbers that deltas are told of."""
    if name == "score":
        return job["best"]["score"] if job["best"] else None
    found: float | None = job[name]
    return found


def _delta(first: Json, job: Json) -> Json:
    found: Json = {}
    for name in _MEASURES:
        ours, theirs = measure(job, name), measure(first, name)
        found[name] = None if ours is None or theirs is None else ours - theirs
    return found


def _differs(first: Json, job: Json) -> list[str]:
    found = [name for name in _SETTINGS if job[name] != first[name]]
    ours, theirs = job["best"], first["best"]
    if ours is None or theirs is None:
        return found
    if ours["model_name"] != theirs["model_name"]:
        found.append("best.model")
    missing = object()
    found += [
        f"knobs.{name}"
        for name in knob_names([first, job])
        if ours["knobs"].get(name, missing) != theirs["knobs"].get(name, missing)
    ]
    return found

"""Starting train jobs, and what a trial costs beyond the model's own work."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from benchmarks.bench_stack import BenchError, Memory, wait_for
from benchmarks.figures import Result
from benchmarks.session import Session
from rafiki.utils.clock import utc_now

N_TRIALS = 200
N_LAST = 25


def measure_train_start(session: Session) -> Iterator[Result]:
    session.stack  # noqa: B018  (started before the clock is)
    ends: list[float] = []
    for name, model in (("train_start_noop", "noop_random"), ("train_start_tree", "SkDt")):
        jobs = [start_and_end_s(session, model) for _ in range(session.sizes.n_starts)]
        yield session.result(name, [start for start, _ in jobs], 2)
        ends += [end for _, end in jobs]
    yield session.result("train_end", ends, 2)


def start_and_end_s(session: Session, model: str) -> tuple[float, float]:
    """Of a job of one trial: from the call that creates it to the trial's start, from the trial's end to the job's."""
    called = utc_now()
    app = session.start_training(model, 1)
    session.wait_for_end(app)
    client = session.stack.client
    (trial,), job = client.get_trials_of_train_job(app), client.get_train_job(app)
    started, stopped = _time(trial, "datetime_started"), _time(trial, "datetime_stopped")
    return (started - called).total_seconds(), (_time(job, "datetime_stopped") - stopped).total_seconds()


def _time(record: dict[str, Any], field: str) -> datetime:
    return datetime.fromisoformat(record[field])


def measure_trials(session: Session) -> Iterator[Result]:
    n = session.sizes.n_searches
    searches = [search(session, "noop_random") for _ in range(n)]
    yield session.result("trial_random", [s[0] for s in searches], 2)
    searches = [search(session, "noop_bayes") for _ in range(n)]
    yield session.result("trial_bayes", [s[0] for s in searches], 2)
    yield session.result("trial_bayes_last", [s[1] for s in searches], 2)
    memory = [s[2] for s in searches]
    last = memory[-1]
    yield session.result("memory_advisor", [m.rss for m in memory], 1, pss_mb=last.pss, uss_mb=last.uss)


def search(session: Session, model: str) -> tuple[float, float, Memory]:
    """Milliseconds a trial over all and over the last ones, and the advisor's memory after them.

    One trial more than are counted is held by the model, so that the advisor can still be looked at.
    """
    client = session.stack.client
    app = session.start_training(model, N_TRIALS + 1, hold_after=N_TRIALS)
    wait_for(
        lambda: client.get_trials_of_train_job(app, offset=N_TRIALS, limit=1), f"{N_TRIALS} trials of {app}",
        timeout_s=600.0, every_s=0.5,
    )  # fmt: skip
    memory = session.stack.memory("advisor")
    trials = client.get_trials_of_train_job(app, limit=N_TRIALS)
    client.stop_train_job(app)
    if {t["status"] for t in trials} != {"COMPLETED"} or [t["no"] for t in trials] != list(range(1, N_TRIALS + 1)):
        failed = next(t for t in trials if t["status"] != "COMPLETED")
        raise BenchError(f"{app}: trial {failed['no']} is {failed['status']}: {failed['error']}")
    stops = [_time(t, "datetime_stopped") for t in trials]
    total_s = (stops[-1] - _time(trials[0], "datetime_started")).total_seconds()
    last = [(b - a).total_seconds() for a, b in zip(stops[-N_LAST - 1 :], stops[-N_LAST:], strict=False)]
    return total_s / N_TRIALS * 1000, statistics.fmean(last) * 1000, memory

"""Searches run one after another or in a few processes, and what is recorded of each."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from benchmarks.search.evaluations import Evaluations
from benchmarks.search.methods import METHODS
from benchmarks.search.problems import PROBLEMS

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
BY_NAME = {p.name: p for p in PROBLEMS}


class Run(msgspec.Struct, frozen=True):
    """One search of one problem with one method and seed."""

    method: str
    problem: str
    seed: int
    scores: list[float | None]
    """Of each trial; None when it failed."""
    seconds: list[float]
    """Processor time, in seconds, that the method took for each trial: proposing and taking in the score."""


class Job(msgspec.Struct, frozen=True):
    method: str
    problem: str
    seed: int
    n_trials: int
    cache: Path


def run(job: Job) -> Run:
    problem = BY_NAME[job.problem]
    problem.load()
    evaluations = Evaluations(job.cache)
    method = METHODS[job.method](problem.knobs, job.seed, job.n_trials)
    scores, seconds = [], []
    for _ in range(job.n_trials):
        started = time.process_time()
        knobs = method.ask()
        asked = time.process_time()
        score = evaluations.score(problem, knobs)
        evaluated = time.process_time()
        method.tell(score)
        seconds.append(asked - started + time.process_time() - evaluated)
        scores.append(score)
    return Run(job.method, job.problem, job.seed, scores, [round(s, 6) for s in seconds])


def run_all(jobs: Iterable[Job], n_processes: int) -> Iterator[Run]:
    """The runs, as they end. Each process keeps to one core, so that processor times compare."""
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    # Fresh processes: libraries with threads of their own do not survive a fork, and read their number when they load.
    with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
        yield from pool.imap_unordered(run, jobs)

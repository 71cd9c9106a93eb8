"""How long it takes from a kill to going on: ``python -m benchmarks.recover``.

Each round kills one process of a fresh job or deployment with SIGKILL, and waits for what its users wait for: the next
finished trial, the next answer in which nobody is left out, the next connection, the admin's next answer.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.bench_stack import BenchStack, wait_for
from benchmarks.datasets import number_queries
from benchmarks.session import QUICK, Session
from rafiki.client import PredictorClient
from rafiki.errors import RafikiError

_EVERY_S = 0.01
_PAUSE_S = 0.05
"""A trial's own time."""
_MANY = 100_000


class Aim(NamedTuple):
    """What is measured, and what it should be, in seconds."""

    told: str
    median_s: float
    worst_s: float


_AIMS = {
    "worker": Aim("train worker to the next finished trial", 2.0, 5.0),
    "advisor": Aim("advisor to the next finished trial", 2.0, 5.0),
    "admin": Aim("admin (`rafiki up` at once) to its next answer", 2.0, 5.0),
    "inference": Aim("inference worker to an answer of all members", 1.5, 5.0),
    "predictor": Aim("predictor to the next connection", 1.0, 5.0),
}


def _n_completed(stack: BenchStack, app: str) -> int:
    """Read where it is written: asking the admin would wait for the admin."""
    job_id = stack.client.get_train_job(app)["id"]
    with contextlib.closing(sqlite3.connect(f"file:{stack.root / 'meta.db'}?mode=ro", uri=True, timeout=10)) as meta:
        query = "SELECT count(*) FROM trials WHERE status = 'COMPLETED' AND train_job_id = ?"
        return int(meta.execute(query, [job_id]).fetchone()[0])


def _training(session: Session, kill: Callable[[BenchStack], None]) -> float:
    stack = session.stack
    app = session.start_training("noop_random", _MANY, pause_s=_PAUSE_S)
    try:
        wait_for(lambda: _n_completed(stack, app) >= 5, "finished trials", every_s=_EVERY_S)
        kill(stack)
        before, began = _n_completed(stack, app), time.perf_counter()
        # One may have been on its way to the database.
        wait_for(lambda: _n_completed(stack, app) > before + 1, "the next finished trial", every_s=_EVERY_S)
        return time.perf_counter() - began
    finally:
        stack.client.stop_train_job(app)


def _worker(session: Session) -> float:
    return _training(session, lambda stack: stack.process("train").kill())


def _advisor(session: Session) -> float:
    return _training(session, lambda stack: stack.process("advisor").kill())


def _admin(session: Session) -> float:
    stack = session.stack
    process = stack.process("admin")
    began = time.perf_counter()
    process.kill()
    process.wait(10)
    stack.run("up")
    stack.client.get_health()
    return time.perf_counter() - began


def _serving(session: Session, kind: str, is_back: Callable[[PredictorClient, str], bool]) -> float:
    client, query = session.stack.client, number_queries().queries[0]
    address = client.create_inference_job(session.trained("tree64"))["predictor_host"]
    try:
        with PredictorClient(address) as predictor:
            predictor.predict(query)
            process = session.stack.process(kind)
            began = time.perf_counter()
            process.kill()
            # Until then its socket takes connections.
            process.wait(10)
            wait_for(lambda: is_back(predictor, address), f"the {kind} process", every_s=_EVERY_S)
            return time.perf_counter() - began
    finally:
        client.stop_inference_job(session.trained("tree64"))


def _inference(session: Session) -> float:
    query = number_queries().queries[0]

    def is_back(predictor: PredictorClient, address: str) -> bool:
        with contextlib.suppress(RafikiError):
            return not predictor.post({"query": query}).get("left_out")
        return False

    return _serving(session, "inference", is_back)


def _predictor(session: Session) -> float:
    def is_back(predictor: PredictorClient, address: str) -> bool:
        host, _, port = address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1.0):
            return True
        return False

    return _serving(session, "predictor", is_back)


_MEASURES: dict[str, Callable[[Session], float]] = {
    "worker": _worker,
    "advisor": _advisor,
    "admin": _admin,
    "inference": _inference,
    "predictor": _predictor,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recover", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=list(_MEASURES), default=list(_MEASURES))
    given = parser.parse_args(arguments)
    with Session(QUICK) as session:
        session.stack  # noqa: B018 - started before anything is measured
        for name in given.only:
            runs = [_MEASURES[name](session) for _ in range(given.rounds)]
            aim, median, worst = _AIMS[name], statistics.median(runs), max(runs)
            missed = "" if median <= aim.median_s and worst <= aim.worst_s else "  MISSED"
            aims = f"aims {aim.median_s:g} and {aim.worst_s:g}"
            print(f"{aim.told}: median {median:.2f} s, worst {worst:.2f} s ({aims}){missed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

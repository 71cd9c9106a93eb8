"""What the box of model code costs: ``python -m benchmarks.boxes``.

Two stacks beside each other, one with boxes and one without, are measured in turn; ratios of medians are told, because
machines differ from day to day.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

from benchmarks.datasets import number_queries
from benchmarks.load import run_load
from benchmarks.measure_training import search, start_and_end_s
from benchmarks.session import QUICK, Session

_NAMES = {
    "start": ("train job to first trial", "s"),
    "trial": ("a random trial that saves parameters", "ms"),
    "query": ("a query, one client", "ms"),
}


def _start(session: Session) -> float:
    return start_and_end_s(session, "noop_random")[0]


def _trial(session: Session) -> float:
    return search(session, "noop_random")[0]


def _query(session: Session) -> float:
    app = session.trained("tree64")
    client = session.stack.client
    address = client.create_inference_job(app)["predictor_host"]
    try:
        result = run_load(address, number_queries().bodies(), n_connections=1, warm_up_s=0.5, duration_s=2.0)
    finally:
        client.stop_inference_job(app)
    return result.p50_ms


_MEASURES: dict[str, Callable[[Session], float]] = {"start": _start, "trial": _trial, "query": _query}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boxes", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    without, boxed = Session(QUICK, {"sandbox": "none"}), Session(QUICK, {"sandbox": "bubblewrap"})
    with without, boxed:
        for name, measure in _MEASURES.items():
            told, unit = _NAMES[name]
            pairs = [(measure(without), measure(boxed)) for _ in range(rounds)]
            plain, box = (statistics.median(values) for values in zip(*pairs, strict=True))
            print(f"{told}: {plain:.3g} {unit} without, {box:.3g} {unit} in a box (x{box / plain:.2f})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m benchmarks.search``: our default search beside other libraries' on real tuning problems.

Each method searches each problem with each seed, one trial at a time. What is missing is told and left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.search import report as reports
from benchmarks.search.methods import METHODS, OURS, RANDOM, missing_packages
from benchmarks.search.problems import PROBLEMS
from benchmarks.search.runs import Job, Run, run_all
from rafiki.utils.clock import utc_now

LATEST = Path(__file__).resolve().parent.parent / "results" / "search.json"
_CACHE = Path(tempfile.gettempdir()) / "rafiki-search-benchmark.sqlite"
_SAVED_EVERY = 20


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__.partition("\n")[0])
    names = [p.name for p in PROBLEMS]
    parser.add_argument("--problems", nargs="+", metavar="NAME", choices=names, default=names, help=", ".join(names))
    parser.add_argument(
        "--methods", nargs="+", metavar="NAME", choices=list(METHODS), default=list(METHODS), help=", ".join(METHODS)
    )
    parser.add_argument("--seeds", type=int, default=10, help="searches of each problem with each method (10)")
    parser.add_argument("--trials", type=int, default=50, help="trials of each search (50)")
    parser.add_argument("--processes", type=int, default=2, help="searches at the same time (2)")
    parser.add_argument("--cache", type=Path, default=_CACHE, help=f"evaluations made before ({_CACHE})")
    parser.add_argument("--out", type=Path, default=LATEST, help="the JSON file (benchmarks/results/search.json)")
    parser.add_argument("--resume", action="store_true", help="run only what the JSON file does not hold yet")
    parser.add_argument(
        "--again", nargs="+", default=[], metavar="NAME", help="with --resume: methods to run anew all the same"
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing: print the JSON file's tables in Markdown"
    )
    return parser.parse_args(arguments)


def _available(methods: list[str]) -> list[str]:
    found = []
    for method in methods:
        if missing := missing_packages(method):
            print(f"{method} is left out: install {', '.join(missing)}.", file=sys.stderr)
        else:
            found.append(method)
    return found


def _held(options: argparse.Namespace) -> list[Run]:
    """The runs of the JSON file that this comparison can use."""
    if not options.resume or not options.out.is_file():
        return []
    return [
        r
        for r in reports.load(options.out).runs
        if r.method in options.methods
        and r.method not in options.again
        and r.problem in options.problems
        and r.seed < options.seeds
        and len(r.scores) == options.trials
    ]


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    if options.report:
        print(reports.as_markdown(reports.load(options.out)))
        return 0
    options.methods = _available(options.methods)
    runs = _held(options)
    done = {(r.method, r.problem, r.seed) for r in runs}
    # Seeds first: what has run when it is interrupted is a comparison of all methods.
    jobs = [
        Job(method, problem, seed, options.trials, options.cache)
        for seed in range(options.seeds)
        for problem in options.problems
        for method in options.methods
        if (method, problem, seed) not in done
    ]
    machine, started_at = describe_machine(), utc_now()

    def report() -> reports.Report:
        order = list(METHODS)
        runs.sort(key=lambda r: (order.index(r.method), options.problems.index(r.problem), r.seed))
        return reports.Report(machine=machine, started_at=started_at, versions=reports.versions(), runs=runs)

    for i, run in enumerate(run_all(jobs, options.processes), start=1):
        runs.append(run)
        if i % _SAVED_EVERY == 0:
            reports.save(report(), options.out)
            print(f"{i} of {len(jobs)} searches", file=sys.stderr, flush=True)
    reports.save(report(), options.out)
    if {RANDOM, OURS} <= {r.method for r in runs}:
        print(reports.as_markdown(report()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

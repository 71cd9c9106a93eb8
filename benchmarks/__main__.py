"""``python -m benchmarks``: measures, prints a table, writes a JSON file.

Noise is no failure: a missed mark is told, and the exit code stays 0. It is 1 when something does not work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks import report as reports
from benchmarks.bench_stack import REPO, BenchError
from benchmarks.commands import measure_commands
from benchmarks.figures import BY_NAME, FIGURES, GROUPS, Report, Result
from benchmarks.load import LoadError
from benchmarks.machine import describe_machine
from benchmarks.measure_serving import measure_deploy, measure_predict
from benchmarks.measure_stack import measure_cli, measure_up
from benchmarks.measure_training import measure_train_start, measure_trials
from benchmarks.session import FULL, QUICK, Session
from rafiki.errors import RafikiError
from rafiki.utils.clock import utc_now

LATEST = Path(__file__).resolve().parent / "results" / "latest.json"
PAGE = REPO / "docs" / "explanation" / "benchmarks.md"
_MEASURES: dict[str, Callable[[Session], Iterator[Result]]] = {
    "cli": measure_cli,
    "commands": measure_commands,
    "up": measure_up,
    "train_start": measure_train_start,
    "trials": measure_trials,
    "deploy": measure_deploy,
    "predict": measure_predict,
}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    names = [*GROUPS, *(name for name in BY_NAME if name not in GROUPS)]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--out", type=Path, default=LATEST, help="the JSON file (benchmarks/results/latest.json)")
    parser.add_argument(
        "--merge", action="store_true", help="keep figures that the JSON file holds and this run does not measure"
    )
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="measure nothing: write the JSON file's figures into docs/explanation/benchmarks.md",
    )
    return parser.parse_args(arguments)


def _measure(only: list[str] | None, is_quick: bool) -> Report:
    wanted = [f for f in FIGURES if only is None or f.name in only or f.group in only]
    started_at, machine = utc_now(), describe_machine()
    results: list[Result] = []
    with Session(QUICK if is_quick else FULL) as session:
        for group in dict.fromkeys(f.group for f in wanted):
            session.begin_group()
            for result in _MEASURES[group](session):
                print(f"{result.name}: {result.value:g} {result.figure.unit}", file=sys.stderr, flush=True)
                results += [result] if result.figure in wanted else []
    return Report(machine=machine, started_at=started_at, is_quick=is_quick, results=_in_order(results))


def _in_order(results: list[Result]) -> list[Result]:
    order = list(BY_NAME)
    return sorted(results, key=lambda r: order.index(r.name))


def _merged(new: Report, path: Path) -> Report:
    if not path.is_file():
        return new
    measured = {r.name for r in new.results}
    kept = [r for r in reports.load(path).results if r.name not in measured]
    return msgspec.structs.replace(new, results=_in_order(new.results + kept))


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        if options.write_docs:
            reports.write_docs(reports.load(options.out), PAGE)
            return 0
        report = _measure(options.only, options.quick)
    except (BenchError, LoadError, RafikiError, OSError, ValueError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    if options.merge:
        report = _merged(report, options.out)
    reports.save(report, options.out)
    print(reports.as_text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

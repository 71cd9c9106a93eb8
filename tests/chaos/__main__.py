"""``python -m chaos``, with the folders of the checkout and of its tests on PYTHONPATH; ``make chaos`` does that."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chaos.pace import LONG
from chaos.report import as_markdown, save, write_docs
from chaos.run import ChaosRun


def main(arguments: list[str] | None = None) -> int:
    """1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="Hurt a stack at work, and count what it costs."
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long blows are struck")
    parser.add_argument("--pause", type=float, default=LONG.pause_s, help="seconds between two blows, on average")
    parser.add_argument("--only", nargs="+", help="kinds of blows; the default is all")
    parser.add_argument("--logs", type=Path, help="a new folder for the stack's logs when a promise was broken")
    parser.add_argument("--out", type=Path, help="where the report goes, as JSON")
    parser.add_argument(
        "--write-docs", action="store_true", help="measure nothing; write what was measured into the page of benchmarks"
    )
    given = parser.parse_args(arguments)
    if given.write_docs:
        write_docs()
        return 0
    pace = LONG._replace(pause_s=given.pause)
    run = ChaosRun(given.database, given.seed, lambda told: print(told, file=sys.stderr, flush=True), pace)
    report = run.run(given.minutes * 60, given.only, keep_logs=given.logs)
    if given.out is not None:
        save(report, given.out)
    print(as_markdown(report))
    for told in report.broken:
        print(f"BROKEN: {told}", file=sys.stderr)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())

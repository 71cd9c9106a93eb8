"""Commands that ask the admin, beside ``rafiki --help``: what each takes of the processor.

``python -m benchmarks.commands`` measures them alone and prints a line for each.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.datasets import number_queries
from benchmarks.figures import Result
from benchmarks.session import FULL, Session

_MODEL = "tree64"
_APP = "{app}"
COMMANDS = (
    "whoami", "dataset list", "model list", f"predict {_APP} --query-file query.json", "status", "train list",
    f"train show {_APP}", f"train trials {_APP}", f"trial show {_APP} {_MODEL}#1", "infer list", f"infer show {_APP}",
    "logs", "user list",
)  # fmt: skip


class Measured(NamedTuple):
    """One command, and the runs of ``--help`` that took turns with it."""

    command: str
    help_ms: float
    """Processor time, median."""
    command_ms: float

    @property
    def ratio(self) -> float:
        return round(self.command_ms / self.help_ms, 2)


def measure_each(session: Session) -> Iterator[Measured]:
    app, stack = session.trained(_MODEL), session.stack
    Path(stack.folder / "query.json").write_text(json.dumps(number_queries().queries[0]))
    stack.client.create_inference_job(app)
    for template in COMMANDS:
        command = template.replace(_APP, app)
        arguments = command.split()
        stack.processor_ms(*arguments)  # The first one logs in, and is no measure.
        runs = [(stack.processor_ms("--help"), stack.processor_ms(*arguments)) for _ in range(session.sizes.n_help)]
        helps, commands = zip(*runs, strict=True)
        yield Measured(command, statistics.median(helps), statistics.median(commands))
    stack.client.stop_inference_job(app)


def measure_commands(session: Session) -> Iterator[Result]:
    measured = list(measure_each(session))
    ratios = {m.command: m.ratio for m in measured}
    worst = max(measured, key=lambda m: m.ratio)
    yield session.result("command", [worst.ratio], 2, command=worst.command, ratios=ratios)


def main() -> int:
    with Session(FULL) as session:
        for m in measure_each(session):
            print(f"{m.command:36} {m.command_ms:6.1f} ms, --help {m.help_ms:5.1f} ms: x{m.ratio:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line, and starting and stopping a stack."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench_stack import BenchStack
from benchmarks.figures import Result
from benchmarks.session import Session


def measure_cli(session: Session) -> Iterator[Result]:
    with BenchStack() as stack:
        stack.run("--help")  # Python writes its bytecode files at the first one.
        yield session.result("help", [stack.run("--help") * 1000 for _ in range(session.sizes.n_help)], 0)


def measure_up(session: Session) -> Iterator[Result]:
    first, again, down = [], [], []
    for _ in range(session.sizes.n_up):
        with BenchStack() as stack:
            first.append(stack.up())
            stack.down()
            again.append(stack.up())
            down.append(stack.down())
    yield session.result("up_first", first, 2)
    yield session.result("up_again", again, 2)
    yield session.result("down", down, 2)

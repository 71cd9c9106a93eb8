"""The command line, and starting and stopping a stack."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from benchmarks.bench_stack import BenchStack
from benchmarks.figures import Result
from benchmarks.session import Session
from rafiki.cache.credentials import Credentials
from rafiki.cache.rehearsal import rehearse
from rafiki.messages import CacheAddress
from rafiki.stack_folder import Secrets
from rafiki.utils.ids import new_secret
from rafiki.utils.pid_file import PidFile


def measure_cli(session: Session) -> Iterator[Result]:
    with BenchStack() as stack:
        stack.run("--help")  # Python writes its bytecode files at the first one.
        yield session.result("help", [stack.run("--help") * 1000 for _ in range(session.sizes.n_help)], 0)


def measure_up(session: Session) -> Iterator[Result]:
    first, again, down, rights = [], [], [], []
    for _ in range(session.sizes.n_up):
        with BenchStack() as stack:
            first.append(stack.up())
            stack.down()
            again.append(stack.up())
            rights.append(_rehearsal_s(stack) * 1000)
            down.append(stack.down())
    yield session.result("up_first", first, 2)
    yield session.result("up_again", again, 2)
    yield session.result("cache_rights", rights, 1)
    yield session.result("down", down, 2)


def _rehearsal_s(stack: BenchStack) -> float:
    """How long the admin takes to try a job's rights at the stack's cache."""
    running = PidFile.load(stack.root / "run" / "cache.json")
    assert running is not None
    secrets = msgspec.json.decode((stack.root / "secrets.json").read_bytes(), type=Secrets)
    address = CacheAddress(
        host=running.host, port=running.port, db=0, username=None, password=secrets.cache_password, prefix=""
    )
    started = time.perf_counter()
    rehearse(address, Credentials(address, new_secret()))
    return time.perf_counter() - started

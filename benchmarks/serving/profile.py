"""Where the time of a request goes: what each process uses of a core, waits for one, and how often it wakes up.

From ``/proc/PID/task/*/schedstat``, so it costs nothing and needs no change in what is measured. Where py-spy can be
run, the functions of each Python process are told too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.bench_stack import BenchError
from benchmarks.serving.environment import Environment
from benchmarks.serving.generator import load_server
from benchmarks.serving.peer import Peer, Running
from benchmarks.serving.rows import queries_of

_WARM_UP_S, _LOAD_S = 1.0, 4.0
_SAMPLES_PER_S = 250
_MOST_AREAS = 14
_LEAST_US = 1.0
_PACKAGES = ("sklearn", "numpy", "joblib", "redis", "uvicorn", "httptools", "asyncio", "msgspec", "starlette")


class Used(NamedTuple):
    """Since the process began, of all its threads."""

    on_core_ns: int
    waiting_ns: int
    """Ready to run, with no core for it."""
    n_turns: int
    """Times that it was given a core: about the number of times it woke up."""

    def since(self, before: Used) -> Used:
        return Used(*(now - then for now, then in zip(self, before, strict=True)))


def used_by(pid: int) -> Used:
    total = [0, 0, 0]
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        for i, value in enumerate(file.read_text().split()):
            total[i] += int(value)
    return Used(*total)


def area_of(stack: str) -> str:
    """The part of the program that a stack of py-spy, outermost frame first, is in: the innermost that is known."""
    for frame in reversed(stack.split(";")):
        file = frame.rpartition("(")[2].partition(":")[0]
        for package in _PACKAGES:
            if f"{package}/" in file and file != "asyncio/runners.py":
                return package
        if file.startswith("rafiki/"):
            return f"{file}: {frame.partition(' ')[0]}"
        if file.startswith("rafiki_model"):
            return "the model's own file"
    return "the event loop itself, and the rest"


def _roles(server: Running) -> dict[str, list[psutil.Process]]:
    return {"front": server.front(), "model": server.models(), "other": server.others()}


def _names(server: Running) -> dict[int, str]:
    found = {}
    for role, processes in _roles(server).items():
        for process in processes:
            try:
                found[process.pid] = f"{role}: {process.name()} {process.pid}"
            except psutil.Error:
                continue
    return found


def print_profile(peer: Peer, model: str, n_clients: list[int]) -> None:
    """Print the tables of a peer at its common setting.

    Raises:
        BenchError: when it cannot be measured.
    """
    if (missing := peer.find_missing()) is not None:
        raise BenchError(f"{peer.name}: {missing}")
    spy = Environment("py-spy", ["py-spy"])
    why = spy.find_missing()
    if why is not None:
        print(f"functions are left out: {why}", file=sys.stderr)
    queries = queries_of(model)
    with peer.serve(model, peer.common) as server:
        bodies = [server.body_of(query) for query in queries.queries]
        for n in n_clients:
            _print_processes(peer, server, model, bodies, n)
            if why is None:
                _print_areas(spy.python.with_name("py-spy"), server, bodies, n)


def _load(server: Running, bodies: list[bytes], n_clients: int, duration_s: float) -> float:
    load = load_server(
        server.host, server.port, server.path, bodies, n_clients=n_clients, warm_up_s=_WARM_UP_S, duration_s=duration_s
    )
    return load.requests_per_s


def _print_processes(peer: Peer, server: Running, model: str, bodies: list[bytes], n_clients: int) -> None:
    names = _names(server)
    before = {pid: used_by(pid) for pid in names}
    load = load_server(
        server.host, server.port, server.path, bodies, n_clients=n_clients, warm_up_s=_WARM_UP_S, duration_s=_LOAD_S
    )
    # The warm-up's requests used processor time too.
    n = load.requests_per_s * (_LOAD_S + _WARM_UP_S)
    print(
        f"\n{peer.name} ({peer.common.name}), {model}, {n_clients} clients: {load.requests_per_s:,.0f} requests/s, p50 "
        f"{load.p50_ms:.2f} ms, p99 {load.p99_ms:.2f} ms\n\n"
        "| process | on a core, us a request | waiting for one | turns |\n| --- | --- | --- | --- |"
    )
    for pid, name in names.items():
        used = used_by(pid).since(before[pid])
        if used.on_core_ns / 1000 / n >= _LEAST_US:
            waiting, turns = used.waiting_ns / 1000 / n, used.n_turns / n
            print(f"| {name} | {used.on_core_ns / 1000 / n:.1f} | {waiting:.1f} | {turns:.2f} |")


def _print_areas(spy: Path, server: Running, bodies: list[bytes], n_clients: int) -> None:
    """The functions of the Python processes, while the load goes on."""
    with tempfile.TemporaryDirectory(prefix="rafiki-bench-") as folder:
        load = threading.Thread(target=_load, args=(server, bodies, n_clients, _LOAD_S + 1.0))
        load.start()
        spies = {}
        for role in ("front", "model"):
            for process in _roles(server)[role]:
                out = Path(folder) / f"{role}-{process.pid}"
                arguments = ["record", "-r", str(_SAMPLES_PER_S), "-d", str(int(_LOAD_S)), "-f", "raw", "--gil"]
                spies[out] = subprocess.Popen(
                    [str(spy), *arguments, "-o", str(out), "-p", str(process.pid)],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
        for running in spies.values():
            running.wait(60)
        load.join()
        for out in spies:
            if out.is_file():
                _print_file(out)


def _print_file(out: Path) -> None:
    areas: Counter[str] = Counter()
    for line in out.read_text().splitlines():
        stack, _, n = line.rpartition(" ")
        areas[area_of(stack)] += int(n)
    if total := sum(areas.values()):
        print(f"\n{out.name}, % of {total:,} samples with the interpreter's lock\n")
        for area, n in areas.most_common(_MOST_AREAS):
            print(f"{100 * n / total:5.1f}  {area}")

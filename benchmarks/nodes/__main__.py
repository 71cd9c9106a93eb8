"""``python -m benchmarks.nodes``: how fast a dataset reaches the nodes, beside what the wire carries. Needs root.

The admin's host and the nodes are network namespaces of this machine. Two workers on each node ask for the dataset at
once; a node fetches it once. The wire is measured in the same run, by one plain TCP stream a node (see ``wire.py``):
all nodes at once, as the datasets travel. Meanwhile a small call is sent to the admin again and again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from benchmarks.nodes.network import HUB_ADDRESS, in_namespace, network
from rafiki.data_store.folder import FolderDataStore
from rafiki.utils.process import COPIES_FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "nodes.json"
WORKERS_A_NODE = 2
_CALLS = """
import http.client, sys, time
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=60)
import threading
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.wait(0.005):
    started = time.perf_counter()
    connection.request("GET", "/")
    connection.getresponse().read()
    print(time.perf_counter() - started, flush=True)
"""


class Program:
    """One that runs in a namespace, spoken to by lines."""

    def __init__(self, namespace: str, *arguments: str, **variables: str) -> None:
        self._process = subprocess.Popen(
            in_namespace(namespace, [sys.executable, *arguments]), cwd=ROOT, env={**os.environ, **variables}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    @property
    def _streams(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def read(self) -> str:
        return self._streams[1].readline().strip()

    def go(self) -> None:
        self._streams[0].write("\n")
        self._streams[0].flush()

    def end(self) -> str:
        """Close its stdin, and wait; what it printed."""
        self._streams[0].close()
        rest = self._streams[1].read()
        self._process.wait(60)
        return rest


@contextlib.contextmanager
def program(namespace: str, *arguments: str, **variables: str) -> Iterator[Program]:
    made = Program(namespace, *arguments, **variables)
    try:
        yield made
    finally:
        made.end()


def measure_wire(hub: str, nodes: list[str], file: Path) -> list[float]:
    """Seconds in which each node has read the file, all at once."""
    with program(hub, "-m", "benchmarks.nodes.wire", "serve", str(file)) as server:
        port = server.read()
        readers = [Program(node, "-m", "benchmarks.nodes.wire", "read", HUB_ADDRESS, port) for node in nodes]
        for reader in readers:
            reader.read()
        for reader in readers:
            reader.go()
        found = [float(reader.read()) for reader in readers]
        for reader in readers:
            reader.end()
    return found


def measure_datasets(hub: str, nodes: list[str], folder: Path, store_id: str) -> dict[str, Any]:
    """Seconds until each node has the dataset, and those of small calls meanwhile."""
    with program(hub, "-m", "benchmarks.nodes.admin", str(folder)) as admin:
        port = admin.read()
        url = f"http://{HUB_ADDRESS}:{port}/stores"
        workers = [
            Program(
                node, "-m", "benchmarks.nodes.worker", url, store_id,
                **{COPIES_FOLDER_VARIABLE: str(folder / f"copies-{i}")},
            )
            for i, node in enumerate(nodes) for _ in range(WORKERS_A_NODE)
        ]  # fmt: skip
        for worker in workers:
            assert worker.read() == "ready"
        calls = Program(hub, "-c", _CALLS, HUB_ADDRESS, port)
        calls.read()
        for worker in workers:
            worker.go()
        told = [tuple(map(float, worker.read().split())) for worker in workers]
        latencies = sorted(float(line) for line in calls.end().split())
        for worker in workers:
            worker.end()
        admin_cpu_s = float(admin.end())
    seconds = [max(told[i * WORKERS_A_NODE + j][0] for j in range(WORKERS_A_NODE)) for i in range(len(nodes))]
    return {
        "seconds": seconds,
        "worker_cpu_s": [used for _, used, _ in told],
        "admin_cpu_s": admin_cpu_s,
        "call_p50_ms": 1000 * statistics.median(latencies),
        "call_p99_ms": 1000 * latencies[int(0.99 * (len(latencies) - 1))],
        "call_max_ms": 1000 * latencies[-1],
    }


def measure(size_mb: int, n_nodes: int, wire_gbit: float | None, folder: Path) -> dict[str, Any]:
    """One run."""
    size_bytes = size_mb * 1_000_000
    chunk = random.Random(0).randbytes(1_000_000)
    store = FolderDataStore(folder / "datasets")
    store_id = store.save(chunk for _ in range(size_mb)).store_id
    with network(n_nodes, wire_gbit) as (hub, nodes):
        wire_s = measure_wire(hub, nodes, store.get_path(store_id))
        found = measure_datasets(hub, nodes, folder, store_id)
    wire, data = size_bytes / max(wire_s), size_bytes / max(found["seconds"])
    return {
        "size_mb": size_mb, "nodes": n_nodes, "wire_gbit": wire_gbit, "wire_mb_s_a_node": wire / 1e6,
        "dataset_mb_s_a_node": data / 1e6, "share_of_the_wire": data / wire, **found,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    parser.add_argument("--size-mb", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--wire-gbit", type=float, help="limit each node's wire; without it, what the kernel does")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the dataset and its copies; removed afterwards")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    found = []
    for _ in range(args.runs):
        folder = Path(tempfile.mkdtemp(prefix="rafiki-nodes-", dir=args.folder))
        try:
            found.append(measure(args.size_mb, args.nodes, args.wire_gbit, folder))
        finally:
            shutil.rmtree(folder)
        run = found[-1]
        of_node, of_admin = sum(run["worker_cpu_s"]) / args.nodes, run["admin_cpu_s"] / args.nodes
        print(
            f"wire {run['wire_mb_s_a_node']:,.0f} MB/s a node, dataset {run['dataset_mb_s_a_node']:,.0f} MB/s a node "
            f"({run['share_of_the_wire']:.0%}), {of_node:.2f} s of processor time of each node, {of_admin:.2f} s of "
            f"the admin's for each; a small call meanwhile: p50 {run['call_p50_ms']:.1f} ms, "
            f"p99 {run['call_p99_ms']:.1f} ms, max {run['call_max_ms']:.1f} ms",
            flush=True,
        )
    results = json.loads(args.output.read_text()) if args.output.exists() else {}
    results[f"{args.wire_gbit or 'unlimited'}"] = {"measured": time.strftime("%Y-%m-%d"), "runs": found}
    args.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

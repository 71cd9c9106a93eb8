"""``python -m benchmarks.serving``: Rafiki beside mosec, LitServe, BentoML and Ray Serve.

All serve the same scikit-learn estimators, with one process for the model, under the same load. What cannot be
installed is told and left out. ``profile`` tells instead where the time of a request goes, process by process.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.bench_stack import BenchError
from benchmarks.machine import describe_machine
from benchmarks.serving import profile
from benchmarks.serving.bentoml import BentoML
from benchmarks.serving.generator import name_of_generator
from benchmarks.serving.litserve import LitServe
from benchmarks.serving.measure import FULL, QUICK, Rounds
from benchmarks.serving.mosec import Mosec
from benchmarks.serving.peer import Peer
from benchmarks.serving.rafiki import Rafiki
from benchmarks.serving.ray_serve import RayServe
from benchmarks.serving.report import PAGE, Report, Served, as_text, write_docs
from benchmarks.serving.rows import MODELS
from rafiki.errors import RafikiError
from rafiki.utils.clock import utc_now

RESULTS = Path(__file__).resolve().parents[1] / "results" / "serving.json"
PEERS: dict[str, Callable[[], Peer]] = {
    "rafiki": Rafiki,
    "mosec": Mosec,
    "litserve": LitServe,
    "bentoml": BentoML,
    "ray": RayServe,
}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("what", nargs="?", choices=["run", "profile"], default="run")
    parser.add_argument("--quick", action="store_true", help="one round of short loads, each at one setting")
    parser.add_argument("--rounds", type=int, help="how many rounds (3; 1 with --quick)")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), help="only these")
    parser.add_argument("--model", choices=MODELS, default="tree", help="of the profile (tree)")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 32], help="of the profile (1 32)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (benchmarks/results/serving.json)")
    parser.add_argument(
        "--write-docs", action="store_true",
        help="measure nothing: write the JSON file's tables into docs/explanation/benchmarks.md",
    )  # fmt: skip
    return parser.parse_args(arguments)


def _run(peers: list[Peer], options: argparse.Namespace) -> Report:
    sizes = QUICK if options.quick else FULL
    if options.rounds:
        sizes = sizes._replace(n_rounds=options.rounds)
    missing = {peer.name: found for peer in peers if (found := peer.find_missing()) is not None}
    for name, why in missing.items():
        print(f"{name} is left out: {why}", file=sys.stderr, flush=True)
    started_at, machine = utc_now(), describe_machine()
    rounds = Rounds([peer for peer in peers if peer.name not in missing], sizes)
    seen = []
    for found in rounds.run():
        value = "never" if found.value is None else f"{found.value:g}"
        print(f"{found.round} {found.peer}, {found.setting}: {found.row} {value}", file=sys.stderr, flush=True)
        seen.append(found)
    problems = {**{name: f"left out, {why}" for name, why in missing.items()}, **rounds.problems}
    return Report(
        machine=machine, started_at=started_at, is_quick=options.quick, generator=name_of_generator(),
        load_s=sizes.load_s, observations=seen,
        peers=[Served(p.name, p.version(), p.common.name, problems.get(p.name)) for p in peers],
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    # Else it would leave servers behind, which would slow down all that is measured afterwards.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    peers: list[Peer] = []
    try:
        if options.write_docs:
            write_docs(msgspec.json.decode(options.out.read_bytes(), type=Report), PAGE)
            return 0
        peers = [PEERS[name]() for name in options.peers]
        if options.what == "profile":
            for peer in peers:
                profile.print_profile(peer, options.model, options.clients)
            return 0
        report = _run(peers, options)
    except (BenchError, RafikiError, OSError, ValueError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    finally:
        for peer in peers:
            peer.close()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    print(as_text(report))
    return 0 if report.observations else 1


if __name__ == "__main__":
    sys.exit(main())

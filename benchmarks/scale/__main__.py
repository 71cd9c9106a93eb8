"""``python -m benchmarks.scale``: measures looks and runs the simulation, prints tables, keeps the figures.

Everything is in temporary folders; a cache server of its own is started for the looks.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.machine import Machine, describe_machine
from benchmarks.scale.looks import LookFigures, measure_looks
from benchmarks.scale.population import Load
from benchmarks.scale.report import tables
from benchmarks.scale.simulation import Figures, Simulation

RESULTS = Path(__file__).resolve().parents[1] / "results" / "scale.json"
LOOK_SIZES = (100, 500, 1000, 2500, 5000)
SIZES = {
    "small": (20, Load(n_train_jobs=40, n_inference_jobs=10, n_workers=4, n_trials=20), (1, 5)),
    "middle": (80, Load(n_train_jobs=160, n_inference_jobs=40, n_workers=4, n_trials=20), (1, 5, 20)),
    "full": (200, Load(n_train_jobs=400, n_inference_jobs=100, n_workers=4, n_trials=20), (1, 10, 50)),
}
"""Hosts, jobs, and how many hosts are lost at once."""


class Results(msgspec.Struct, kw_only=True):
    machine: Machine
    looks: list[LookFigures]
    simulations: list[Figures]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--looks", action="store_true", help="measure looks only")
    parser.add_argument(
        "--size", choices=SIZES, nargs="*", default=list(SIZES), help="of the simulation (default: all)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="an empty PostgreSQL database, in the place of SQLite; for one --size")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a JSON file; figures that it has of others stay")
    parser.add_argument("--report", action="store_true", help="measure nothing; print the tables of the JSON file")
    given = parser.parse_args()
    if given.report:
        print(tables(msgspec.json.decode(given.out.read_bytes(), type=Results)))
        return 0
    # Hosts are lost on purpose: what the supervisor says of it is of no interest here.
    logging.disable(logging.CRITICAL)
    results = Results(machine=describe_machine(), looks=[], simulations=[])
    if given.out.exists():
        kept = msgspec.json.decode(given.out.read_bytes(), type=Results)
        results.looks, results.simulations = kept.looks, kept.simulations
    with tempfile.TemporaryDirectory() as folder:
        if given.looks:
            for n in LOOK_SIZES if given.url is None else LOOK_SIZES[-2:-1]:
                found = measure_looks(Path(folder) / f"looks{n}", n, given.url)
                others = [f for f in results.looks if (f.n_services, f.database) != (found.n_services, found.database)]
                results.looks = sorted([*others, found], key=lambda f: (f.database, f.n_services), reverse=False)
                _keep(results, given.out)
        for name in () if given.looks else given.size:
            n_hosts, load, losses = SIZES[name]
            place = Path(folder) / name
            place.mkdir()
            run = Simulation(place, load, n_hosts=n_hosts, seed=given.seed, losses=losses, url=given.url).run()
            same = (run.n_services, run.database)
            results.simulations = [f for f in results.simulations if (f.n_services, f.database) != same]
            results.simulations = sorted([*results.simulations, run], key=lambda f: (f.database, f.n_services))
            _keep(results, given.out)
    print(tables(results))
    return 0


def _keep(results: Results, file: Path) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")


if __name__ == "__main__":
    sys.exit(main())

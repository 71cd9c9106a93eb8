"""The supervisor over 20 hosts, 200 workers and 50 jobs on paper: hosts are lost, services are killed, no work is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.scale.paper_swarm import PaperSwarm
from benchmarks.scale.population import Load
from benchmarks.scale.simulation import BrokenPromise, Figures, Simulation

LOAD = Load(n_train_jobs=40, n_inference_jobs=10, n_workers=4, n_trials=12)
FEW = Load(n_train_jobs=3, n_inference_jobs=1, n_workers=2, n_trials=8)
NOT_MEASURED = ("look_median_ms", "look_p95_ms", "memory_mb", "database_mb", "took_s")
"""Of the machine; all else follows from the seed."""


def run(folder: Path, load: Load, n_hosts: int, losses: tuple[int, ...], **options: float) -> Figures:
    folder.mkdir()
    return Simulation(folder, load, n_hosts=n_hosts, seed=3, losses=losses, **options).run()


@pytest.mark.long
def test_no_trial_is_lost_or_doubled_and_no_service_is_left_whatever_hosts_and_services_end(tmp_path: Path) -> None:
    figures = run(tmp_path / "a", LOAD, 20, (1, 5))
    assert (figures.n_jobs, figures.n_services) == (50, 250)
    one, five = figures.recoveries
    assert one.n_services > 0
    assert five.n_services > one.n_services
    # A lost host is noticed after 10 to 13 s, and then its services start elsewhere.
    assert 10.0 <= one.median_s <= five.worst_s < 60.0
    assert figures.n_crashes > 0
    # Ten reads, and not one for each job or service.
    assert figures.look_statements <= 10


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    first, second = (run(tmp_path / name, FEW, 4, (1,), crashes_a_s=0.05) for name in "ab")
    for measured in NOT_MEASURED:
        first, second = (msgspec.structs.replace(f, **{measured: 0.0}) for f in (first, second))
    assert first == second


def test_a_service_that_nobody_ends_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PaperSwarm, "_forget", lambda self, task: None)
    with pytest.raises(BrokenPromise, match="left"):
        run(tmp_path / "a", FEW, 4, ())

"""A stack at work is hurt at random, by a fixed seed, and keeps its promises. ``make chaos`` does it for an hour."""

from __future__ import annotations

import pytest
from chaos.pace import SHORT
from chaos.run import ChaosRun

pytestmark = [pytest.mark.acceptance, pytest.mark.long]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nothing_is_lost_doubled_late_or_left_behind_whatever_is_hurt(database: str) -> None:
    report = ChaosRun(database, seed=7, tell=print, pace=SHORT).run(60.0, n_blows=8)
    assert report.broken == [], report
    assert report.n_blows == 8
    assert report.n_finished_trials > 0
    assert report.requests["answered"] > 0

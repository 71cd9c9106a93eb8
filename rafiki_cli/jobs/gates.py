"""What a job must reach before it is deployed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rafiki.analysis.curves import best_trial
from rafiki.constants import TrialStatus
from rafiki.contract.train_jobs import TrialView
from rafiki.ensembles import EnsembleSummary
from rafiki_cli.jobs.spec import Gates
from rafiki_cli.render import values


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """One condition and what came of it."""

    name: str
    wanted: float
    found: float | None
    """None when there is nothing to measure."""
    is_met: bool
    text: str
    """``best score 0.9444, at least 0.9 wanted``."""


def _result(name: str, what: str, wanted: float, found: float | None, *, is_least: bool = True) -> GateResult:
    is_met = found is not None and (found >= wanted if is_least else found <= wanted)
    shown = "there is none" if found is None else _number(found)
    bound = "at least" if is_least else "at most"
    return GateResult(
        name=name, wanted=wanted, found=found, is_met=is_met, text=f"{what} {shown}, {bound} {_number(wanted)} wanted"
    )


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else values.number(value)


def check_trials(gates: Gates, trials: Sequence[TrialView]) -> list[GateResult]:
    """The gates that a train job's trials decide."""
    found = []
    if gates.min_score is not None:
        best = best_trial(trials)
        found.append(_result("min_score", "best score", gates.min_score, best.score if best else None))
    if gates.min_trials is not None:
        completed = sum(t.status == TrialStatus.COMPLETED for t in trials)
        found.append(_result("min_trials", "completed trials", gates.min_trials, completed))
    if gates.max_failed_trials is not None:
        failed = sum(t.status == TrialStatus.ERRORED for t in trials)
        limit = gates.max_failed_trials
        found.append(_result("max_failed_trials", "failed trials", limit, failed, is_least=False))
    return found


def check_ensemble(gates: Gates, ensemble: EnsembleSummary) -> list[GateResult]:
    """The gates that the ensemble decides which would be served."""
    if gates.min_ensemble_score is None:
        return []
    score = ensemble.validation_score
    return [_result("min_ensemble_score", "ensemble score", gates.min_ensemble_score, score)]

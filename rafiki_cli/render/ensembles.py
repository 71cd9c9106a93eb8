"""An ensemble in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rafiki_cli.render import values

if TYPE_CHECKING:
    from rafiki.ensembles import EnsembleSummary


def scores_text(ensemble: EnsembleSummary) -> str | None:
    """``accuracy 0.9120 on 500 validation examples, the best single trial 0.8990``; None where nothing was scored."""
    if ensemble.validation_score is None:
        return None
    return (
        f"{ensemble.metric} {values.score(ensemble.validation_score)} on {ensemble.n_examples:,} validation examples, "
        f"the best single trial {values.score(ensemble.best_single_score)}"
    )


def ensemble_line(ensemble: EnsembleSummary, n_members: int) -> str | None:
    """``ensemble (greedy) of 3 trials: accuracy 0.9120 on ...``; None where nothing was scored."""
    scores = scores_text(ensemble)
    return scores and f"ensemble ({ensemble.method}) of {values.count(n_members, 'trial')}: {scores}"

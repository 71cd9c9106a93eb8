"""What a scheme may learn from earlier searches."""

from __future__ import annotations

from rafiki.advisor.base import SearchSetup, TrialRecord, with_knobs
from rafiki.errors import ModelError
from rafiki.model.knobs import check_knobs


def usable_history(setup: SearchSetup) -> list[TrialRecord]:
    """Completed trials of earlier searches, without those whose knobs this model's configuration no longer takes."""
    found = []
    for trial in setup.history:
        if trial.state != "completed" or trial.score is None:
            continue
        try:
            knobs = check_knobs(setup.knob_config, trial.knobs)
        except ModelError:
            continue
        found.append(with_knobs(trial, knobs))
    return found

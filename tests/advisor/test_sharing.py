"""The search in which trials go on from the parameters of earlier ones."""

from __future__ import annotations

from rafiki.advisor.schemes import make_advisor
from rafiki.budget import TrainBudget
from rafiki.constants import SharePolicy
from rafiki.model.knobs import FloatKnob, PolicyKnob

CONFIG = {"x": FloatKnob(0, 1), "share": PolicyKnob("SHARE_PARAMS"), "stop": PolicyKnob("EARLY_STOP")}


def starts(seed: int, n: int) -> list[SharePolicy | None]:
    advisor = make_advisor(CONFIG, TrainBudget(model_trial_count=n), seed)
    found = []
    for no in range(1, n + 1):
        proposal = advisor.propose(no)
        assert proposal.knobs["share"] is True
        assert proposal.knobs["stop"] is True
        found.append(proposal.start_from)
        advisor.feedback(no, -((proposal.knobs["x"] - 0.4) ** 2))
    return found


def test_the_first_trial_starts_afresh_and_later_ones_more_and_more_rarely() -> None:
    n = 40
    runs = [starts(seed, n) for seed in range(6)]
    assert all(run[0] is None for run in runs)
    early = sum(start is None for run in runs for start in run[: n // 4])
    late = sum(start is None for run in runs for start in run[-n // 4 :])
    # exp(-4 t/T) is 0.63 on average over the first quarter and 0.03 over the last.
    assert early > 5 * late
    assert {start for run in runs for start in run} == {None, SharePolicy.GLOBAL_BEST}


def test_the_same_seed_shares_in_the_same_trials() -> None:
    assert starts(3, 10) == starts(3, 10)

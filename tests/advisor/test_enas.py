"""Architecture search: its phases, who starts from which weights, and what survives a restart."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from rafiki.advisor.base import Ask, Proposal, SearchSetup, TrialRecord
from rafiki.advisor.enas import EnasAdvisor
from rafiki.advisor.enas_scheme import EnasOptions
from rafiki.constants import SharePolicy
from rafiki.model.knobs import (
    POLICIES,
    ArchKnob,
    FixedKnob,
    KnobConfig,
    KnobValue,
    PolicyKnob,
    check_knobs,
    knob_config_from_json,
    knob_config_to_json,
)

OPERATIONS = [KnobValue(name) for name in ("conv", "pool", "skip")]
CONFIG: KnobConfig = {
    "cell": ArchKnob([OPERATIONS] * 6),
    "inputs": ArchKnob([[0, 1], [0, 1, 2], [5]]),
    "rate": FixedKnob(0.1),
    **{policy.lower(): PolicyKnob(policy) for policy in POLICIES},
}
ON = {
    "train": {"SHARE_PARAMS", "EARLY_STOP", "DOWNSCALE"},
    "search": {"SHARE_PARAMS", "SKIP_TRAIN", "QUICK_EVAL", "DOWNSCALE"},
    "final": {"SHARE_PARAMS", "SKIP_TRAIN", "DOWNSCALE"},
    "full": set(),
}


def make(limit: int | None = None, *, seed: int = 0, config: KnobConfig = CONFIG, **setup: Any) -> EnasAdvisor:
    return EnasAdvisor(SearchSetup(knob_config=config, seed=seed, trial_limit=limit, **setup))


def goodness(knobs: dict[str, Any]) -> float:
    return float(sum(choice == "conv" for choice in knobs["cell"])) + knobs["inputs"][1] / 10


def search(
    advisor: EnasAdvisor,
    n: int,
    *,
    workers: tuple[str | None, ...] = ("a",),
    used: Callable[[int], float] | None = None,
    score: Callable[[int, Proposal], float | None] = lambda no, proposal: goodness(proposal.knobs),
    start: int = 1,
) -> list[Proposal]:
    """Workers take turns; each result comes before the next trial."""
    found = []
    for no in range(start, n + 1):
        share = used(no) if used else (no - 1) / (advisor.setup.trial_limit or n)
        found.append(advisor.propose(no, Ask(worker_id=workers[no % len(workers)], budget_used=share)))
        advisor.feedback(no, score(no, found[-1]))
    return found


def phases(proposals: list[Proposal]) -> list[str]:
    return [p.phase for p in proposals]


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 30, 31, 100, 500])
@pytest.mark.parametrize("n_workers", [1, 3])
def test_a_search_of_any_number_of_trials_trains_searches_and_ends_with_a_full_training(
    limit: int, n_workers: int
) -> None:
    workers = tuple(f"w{i}" for i in range(n_workers))
    found = phases(search(make(limit, n_workers=n_workers), limit, workers=workers))
    counts = Counter(found)
    assert found[-1] == "full"
    # The closing is one stretch at the end: evaluations, then full trainings, of which there are few.
    closing = [p for p in found if p in ("final", "full")]
    assert found[-len(closing) :] == closing == sorted(closing)
    assert counts["full"] <= 3
    assert counts["final"] <= EnasOptions().n_finals
    if limit >= 10:
        assert found[0] == "train"
        assert counts["search"] > 0
    if limit >= 30:
        assert counts["train"] >= 8
        assert counts["final"] >= 2
        assert counts["search"] >= limit / 4


def test_a_search_that_time_ends_closes_in_the_last_share_of_it() -> None:
    options = EnasOptions(final_share=0.25, n_finals=4, searches_per_training=5)
    found = phases(search(make(options=options), 80, used=lambda no: no / 80))
    assert set(found[:59]) == {"train", "search"}
    # The best is trained in full, then the next best; and further ones, while there is time.
    assert found[59:69] == ["final"] * 4 + ["full"] * 4 + ["final", "full"]


def test_time_that_ends_before_the_trials_do_closes_the_search_too() -> None:
    found = phases(search(make(1000), 60, used=lambda no: no / 60))
    # Evaluations take half of the last tenth of the time at most.
    assert found[53:58] == ["final"] * 3 + ["full"] * 2
    assert set(found[:53]) == {"train", "search"}


def test_trainings_alternate_with_evaluations_on_each_worker_by_itself() -> None:
    advisor = make(options=EnasOptions(searches_per_training=3))
    found = search(advisor, 60, workers=("a", "b"), used=lambda no: 0.5)
    for name in ("a", "b"):
        own = [p for p in found if p.scheme_state["line"] == name]
        assert phases(own) == (["train"] + ["search"] * 3) * 7 + ["train", "search"]
        assert [p.start_from for p in own[1:]] == [SharePolicy.LOCAL_RECENT] * (len(own) - 1)
    # The first of all starts afresh; the first of another worker from what there is.
    assert [p.start_from for p in found[:2]] == [None, SharePolicy.GLOBAL_RECENT]


def test_a_worker_that_joins_late_trains_before_it_evaluates() -> None:
    advisor = make(options=EnasOptions(searches_per_training=5))
    search(advisor, 20, used=lambda no: 0.5)
    late = search(advisor, 23, workers=("late",), used=lambda no: 0.5, start=21)
    assert phases(late) == ["train", "search", "search"]
    assert [p.start_from for p in late] == [SharePolicy.GLOBAL_RECENT, *[SharePolicy.LOCAL_RECENT] * 2]


def test_a_proposal_for_nobody_in_particular_goes_on_from_anyones_weights() -> None:
    advisor = make(options=EnasOptions(searches_per_training=2))
    found = search(advisor, 8, workers=(None,), used=lambda no: 0.5)
    assert phases(found) == ["train", "search", "search"] * 2 + ["train", "search"]
    assert [p.start_from for p in found] == [None] + [SharePolicy.GLOBAL_RECENT] * 7


def test_a_training_that_failed_is_followed_by_another() -> None:
    def score(no: int, proposal: Proposal) -> float | None:
        return None if proposal.phase == "train" and no < 4 else 0.5

    found = search(make(), 6, used=lambda no: 0.5, score=score)
    assert phases(found) == ["train"] * 4 + ["search"] * 2
    # A training that failed left nothing to start from.
    assert [p.start_from for p in found[:5]] == [None] * 4 + [SharePolicy.LOCAL_RECENT]


def test_each_phase_has_its_policies_and_start() -> None:
    for proposal in search(make(60), 60):
        check_knobs(CONFIG, proposal.knobs)
        phase = proposal.phase
        assert {p for p in POLICIES if proposal.knobs[p.lower()]} == ON[phase]
        if phase == "final":
            assert proposal.start_from is SharePolicy.GLOBAL_RECENT
        if phase == "full":
            assert proposal.start_from is None


def test_the_controller_finds_the_better_half_of_the_choices_and_the_best_is_trained_in_full() -> None:
    scores = []
    for seed in range(4):
        found = search(make(200, seed=seed), 200)
        # Of those trained in full the best comes first.
        scores.append(next(goodness(p.knobs) for p in found if p.phase == "full"))
        finals = [goodness(p.knobs) for p in found if p.phase == "final"]
        assert scores[-1] == max(finals)
    # Six positions of three candidates: 2 on average, and 4 or more in one random architecture of ten.
    assert min(scores) >= 5


def test_several_workers_at_the_end_train_different_architectures() -> None:
    advisor = make(200, n_workers=3)
    search(advisor, 197, workers=("a", "b", "c"))
    last = [advisor.propose(no, Ask(worker_id="abc"[no % 3], budget_used=0.99)) for no in (198, 199, 200)]
    assert phases(last) == ["full"] * 3
    assert len({str(p.knobs["cell"] + p.knobs["inputs"]) for p in last}) == 3


@pytest.mark.parametrize("cut", [5, 57, 112, 118])
def test_a_restored_search_proposes_what_the_old_one_would_have(cut: int) -> None:
    def score(no: int, proposal: Proposal) -> float | None:
        return None if no % 7 == 0 else goodness(proposal.knobs) + random.Random(no).random()

    whole = make(120)
    expected = search(whole, 120, score=score)
    old = make(120)
    search(old, cut, score=score)
    # As records travel: through the configuration's JSON and with the worker's name.
    restored = make(120, config=knob_config_from_json(knob_config_to_json(CONFIG)))
    restored.restore(old.trials)
    assert search(restored, 120, score=score, start=cut + 1) == expected[cut:]


def test_a_pending_trial_counts_after_a_restart() -> None:
    old = make(options=EnasOptions(searches_per_training=2))
    search(old, 3, used=lambda no: 0.5)
    old.propose(4, Ask(worker_id="a", budget_used=0.5))
    restored = make(options=EnasOptions(searches_per_training=2))
    restored.restore(old.trials)
    assert phases([restored.propose(4)]) == ["train"]
    following = restored.propose(5, Ask(worker_id="a", budget_used=0.5))
    assert following.phase == "search"


@pytest.mark.parametrize("seed", range(4))
def test_any_mixture_of_results_neither_raises_nor_stalls(seed: int) -> None:
    rng = random.Random(seed)
    advisor = make(rng.choice([None, 150]), seed=seed, n_workers=3)
    pending: list[int] = []
    for no in range(1, 151):
        worker = rng.choice(["a", "b", "c", None])
        proposal = advisor.propose(no, Ask(worker_id=worker, budget_used=no / 150))
        check_knobs(CONFIG, proposal.knobs)
        pending.append(no)
        while pending and rng.random() < 0.6:
            score = rng.choice([1.0, -1e300, 1e300, float("nan"), float("inf"), None, rng.random()])
            advisor.feedback(pending.pop(rng.randrange(len(pending))), score, is_ended_early=rng.random() < 0.2)


def test_constraints_and_knobs_given_first_are_kept() -> None:
    first = {"cell": ["skip"] * 6}
    advisor = make(80, constraints=("cell[0] != cell[1]", "inputs[0] <= inputs[1]"))
    for proposal in search(advisor, 80):
        assert proposal.knobs["cell"][0] != proposal.knobs["cell"][1]
        assert proposal.knobs["inputs"][0] <= proposal.knobs["inputs"][1]
    found = search(make(40, first_knobs=(first,)), 40)
    assert found[0].knobs["cell"] == first["cell"]
    assert phases(found)[1] == "train"


def test_records_of_another_scheme_are_no_obstacle() -> None:
    advisor = make(20)
    knobs = make(20).propose(1).knobs
    advisor.restore([TrialRecord(no=1, proposal=Proposal(knobs=knobs), score=0.5, state="completed")])
    assert phases(search(advisor, 20, start=2))[-1] == "full"

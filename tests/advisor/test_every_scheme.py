"""What every registered search scheme promises, for random knob configurations. A new one is covered by its entry."""

import random
import time
import tracemalloc

import pytest
from support.data.plugin_packages import modules_of

from rafiki.advisor.base import SearchSetup, TrialRecord
from rafiki.advisor.schemes import SCHEMES, load_advisor, parse_options
from rafiki.advisor.space import SearchSpace
from rafiki.model.knobs import (
    POLICIES,
    ArchKnob,
    CategoricalKnob,
    FloatKnob,
    IntegerKnob,
    KnobValue,
    PolicyKnob,
)
from rafiki.proposals import Proposal
from rafiki.testing.schemes import check_proposals, check_repeatable, check_restarts, check_scheme, make_setup

OPTIONS = {"grid": {"points": 3}}
REPEATING = {"fixed", "sharing", "pbt", "enas"}
"""Schemes that try the same knobs again by design."""

SHARED = [KnobValue(i) for i in range(3)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SCHEMES.names())
def test_whatever_happens_every_proposal_is_a_point_of_the_space(name, seed):
    check_proposals(SCHEMES.get(name), make_setup(SCHEMES.get(name), seed, OPTIONS.get(name)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SCHEMES.names())
def test_a_restored_search_goes_on_as_one_that_was_never_interrupted(name, seed):
    check_restarts(SCHEMES.get(name), make_setup(SCHEMES.get(name), seed, OPTIONS.get(name)))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", SCHEMES.names())
def test_the_same_setup_gives_the_same_search_and_another_seed_another(name, seed):
    check_repeatable(SCHEMES.get(name), make_setup(SCHEMES.get(name), seed, OPTIONS.get(name)))


def test_the_scheme_of_the_guide_passes_the_checks():
    module = {}
    exec(modules_of("howto/add-a-search-scheme.md")["hill"], module)
    check_scheme(module["SCHEME"])


@pytest.mark.parametrize("constraints", [(), ("a <= b",)], ids=["free", "constrained"])
@pytest.mark.parametrize("name", [name for name in SCHEMES.names() if name not in REPEATING])
def test_a_finite_space_is_tried_whole_before_anything_repeats(name, constraints):
    scheme = SCHEMES.get(name)
    config = {"a": IntegerKnob(1, 4), "b": IntegerKnob(1, 4, is_exp=True), "c": CategoricalKnob(["u", "v"])}
    setup = SearchSetup(
        knob_config=config, seed=3, constraints=constraints, options=parse_options(scheme, {}), first_knobs=({"a": 2},)
    )
    size = len(list(SearchSpace(config, constraints).points()))
    advisor = load_advisor(scheme, setup)
    r = random.Random(5)
    for no in range(1, size + 1):
        advisor.propose(no)
        if no % 3:
            score, is_ended_early = (r.gauss(0, 1), r.random() < 0.3)
            advisor.feedback(no, score, is_ended_early=is_ended_early)
        if no == size // 2:
            trials = advisor.trials
            advisor = load_advisor(scheme, setup)
            advisor.restore(trials)
    assert len({repr(t.knobs) for t in advisor.trials}) == size


WIDE = {
    **{f"x{i}": FloatKnob(1e-3, 1, is_exp=i % 2 == 0) for i in range(4)},
    **{f"n{i}": IntegerKnob(1, 100, is_exp=i % 2 == 0) for i in range(2)},
    **{f"c{i}": CategoricalKnob(list("abcde")) for i in range(2)},
}
EVERY_POLICY = {p.lower(): PolicyKnob(p) for p in POLICIES}
CELLS = {"cells": ArchKnob([SHARED] * 8)}


@pytest.mark.parametrize("name", [name for name in SCHEMES.names() if name != "fixed"])
def test_two_thousand_trials_are_no_burden(name, capsys):
    scheme = SCHEMES.get(name)
    fits = [c for c in (WIDE, WIDE | EVERY_POLICY, CELLS | EVERY_POLICY) if scheme.refuse(c) is None]
    setup = SearchSetup(knob_config=fits[0], seed=0, options=parse_options(scheme, OPTIONS.get(name, {})))
    r = random.Random(0)
    space = SearchSpace(fits[0])
    records = [
        TrialRecord(no=no, proposal=Proposal(knobs=space.knobs(space.draw(r))), score=r.gauss(0, 1), state="completed")
        for no in range(1, 2001)
    ]
    tracemalloc.start()
    try:
        load_advisor(scheme, setup).restore(records)
        book_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Untraced, because a first proposal may catch up with all of the history.
    advisor = load_advisor(scheme, setup)
    advisor.restore(records)
    advisor.propose(2001)
    times_ms = []
    for no in range(2002, 2007):
        advisor.feedback(no - 1, r.random())
        begun = time.perf_counter()
        advisor.propose(no)
        times_ms.append(1000 * (time.perf_counter() - begun))
    tracemalloc.start()
    try:
        advisor.propose(2007)
        memory_mb = (book_bytes + tracemalloc.get_traced_memory()[1]) / 2**20
    finally:
        tracemalloc.stop()
    with capsys.disabled():
        print(f"\n{name}: {sorted(times_ms)[2]:.1f} ms a proposal after 2,000 trials, {memory_mb:.0f} MB")
    assert memory_mb < 200
    assert len(advisor.trials) == 2007

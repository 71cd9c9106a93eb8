"""What every registered search scheme promises, for random knob configurations. A new one is covered by its entry."""

import math
import random
import time
import tracemalloc

import msgspec
import pytest

from rafiki.advisor.base import Ask, SearchSetup, TrialRecord
from rafiki.advisor.schemes import SCHEMES, load_advisor, parse_options
from rafiki.advisor.space import SearchSpace
from rafiki.model.constraints import parse_constraints
from rafiki.model.knobs import (
    POLICIES,
    ArchKnob,
    CategoricalKnob,
    FixedKnob,
    FloatKnob,
    IntegerKnob,
    KnobValue,
    PolicyKnob,
    check_knobs,
    knob_config_from_json,
    knob_config_to_json,
)
from rafiki.proposals import Proposal

OPTIONS = {"grid": {"points": 3}}
REPEATING = {"fixed", "sharing", "pbt", "enas"}
"""Schemes that try the same knobs again by design."""

SHARED = [KnobValue(i) for i in range(3)]
NUMBERS = [
    lambda r: FloatKnob(0, 1),
    lambda r: FloatKnob(-r.random(), 10 ** r.uniform(-3, 6)),
    lambda r: FloatKnob(1e-6, 1, is_exp=True),
    lambda r: FloatKnob(2.5, 2.5),
    lambda r: FloatKnob(3, 3, is_exp=True),
    lambda r: FloatKnob(-1.7e308, 1.7e308),
    lambda r: FloatKnob(5e-324, 1e308, is_exp=True),
    lambda r: FloatKnob(1.0, 1.0000000000000002),
    lambda r: IntegerKnob(1, r.randint(2, 4)),
    lambda r: IntegerKnob(-50, 50),
    lambda r: IntegerKnob(1, 1024, is_exp=True),
    lambda r: IntegerKnob(7, 7),
    lambda r: IntegerKnob(0, 2**62),
    lambda r: IntegerKnob(1, 2**62, is_exp=True),
]
CHOICES = [
    lambda r: CategoricalKnob(["a", "b", "c"]),
    lambda r: CategoricalKnob([True, False]),
    lambda r: CategoricalKnob([0.5, 0.25, 1e9]),
    lambda r: CategoricalKnob([1, 2, 2, 3]),
    lambda r: CategoricalKnob(["only"]),
    lambda r: CategoricalKnob(list(range(r.choice([40, 400])))),
]
ARCHES = [
    lambda r: ArchKnob([SHARED, SHARED[:2], [*SHARED, KnobValue(9)]]),
    lambda r: ArchKnob([["x", "y"]] * r.randint(1, 8)),
    lambda r: ArchKnob([[1], [2]]),
]


def knobs_of(r, makers, most):
    return {f"k{i}": r.choice(makers)(r) for i in range(r.randint(0, most))}


def config_for(scheme, r):
    """A random configuration that this scheme does not refuse."""
    fixed = {"f": FixedKnob(r.choice([3, "x", 0.5, True]))} if r.random() < 0.5 else {}
    some = {p.lower(): PolicyKnob(p) for p in POLICIES if r.random() < 0.4}
    every = {p.lower(): PolicyKnob(p) for p in POLICIES}
    for _ in range(100):
        kinds = r.choice([NUMBERS, NUMBERS + CHOICES, NUMBERS + CHOICES + ARCHES, CHOICES, ARCHES, []])
        config = knobs_of(r, kinds, 6) | fixed | r.choice([{}, some, every]) if kinds else fixed | some
        if scheme.refuse(config) is None:
            items = list(config.items())
            r.shuffle(items)
            return dict(items)
    raise AssertionError(f"{scheme.name} refuses every configuration")


def constraints_for(config, r):
    """Up to two constraints that leave a good deal of the space."""
    space = SearchSpace(config)
    drawn = [space.knobs(space.draw(r)) for _ in range(40)]
    found = []
    for _ in range(r.randint(0, 4)):
        names = [n for n, k in config.items() if isinstance(k, (FloatKnob, IntegerKnob, CategoricalKnob))]
        if not names:
            break
        name, other = r.choice(names), r.choice(names)
        if isinstance(config[name], CategoricalKnob):
            text = f"{name} != {r.choice(drawn)[name]!r}"
        elif isinstance(config[other], CategoricalKnob) or r.random() < 0.4:
            text = f"{name} <= {r.choice(drawn)[name]!r}"
        else:
            text = f"{name} <= {other}"
        holding = parse_constraints([*found, text], config)
        if len(found) < 2 and sum(all(c.holds(k) for c in holding) for k in drawn) >= 12:
            found.append(text)
    return found


def setup_for(scheme, seed):
    r = random.Random(f"{scheme.name}/{seed}")
    config = config_for(scheme, r)
    constraints = constraints_for(config, r) if r.random() < 0.6 else []
    space = SearchSpace(config, constraints)
    first = [space.complete({}, r) for _ in range(r.choice([0, 0, 1, 3]))]
    for knobs in first:
        for name in [n for n in knobs if not any(n in text for text in constraints)]:
            if r.random() < 0.3 or name in space.policies:
                del knobs[name]
    history = [
        TrialRecord(no=no, proposal=Proposal(knobs=space.knobs(space.draw(r))), score=r.gauss(0, 1), state="completed")
        for no in range(1, r.choice([1, 1, 20]))
    ]
    strange = TrialRecord(no=99, proposal=Proposal(knobs={"of another version": 1}), score=1.0, state="completed")
    return SearchSetup(
        knob_config=knob_config_from_json(knob_config_to_json(config)),
        seed=seed,
        trial_limit=r.choice([None, 4, 30]),
        n_workers=r.choice([1, 2, 12]),
        options=parse_options(scheme, OPTIONS.get(scheme.name, {})),
        constraints=tuple(constraints),
        first_knobs=tuple(first),
        history=tuple([*history, strange] if history else []),
    )


def check_proposal(setup, no, proposal, advisor):
    config = setup.knob_config
    checked = check_knobs(config, proposal.knobs)
    assert checked == proposal.knobs
    for name, knob in config.items():
        value = proposal.knobs[name]
        if isinstance(knob, ArchKnob):
            assert [type(v) for v in value] == [knob.value_type] * len(knob)
        else:
            assert type(value) is knob.value_type
    for constraint in parse_constraints(setup.constraints, config):
        assert constraint.holds(proposal.knobs), constraint.text
    if no <= len(setup.first_knobs):
        assert setup.first_knobs[no - 1].items() <= proposal.knobs.items()
    assert proposal.scheme == advisor.scheme
    assert proposal.phase
    encoded = msgspec.json.encode(proposal)
    assert msgspec.json.decode(encoded, type=Proposal) == proposal
    assert len(encoded) < 4000
    if proposal.start_from_trial is not None:
        states = {t.no: t.state for t in advisor.trials}
        assert proposal.start_from_trial < no
        assert states[proposal.start_from_trial] == "completed"
    assert advisor.propose(no) == proposal


def outcome(r):
    score = r.choice([r.gauss(0, 1), r.random(), None, math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0, 5e-324])
    return score, r.random() < 0.3


def limit(advisor, n):
    return n if advisor.max_trials is None else min(n, advisor.max_trials)


def through_json(trials):
    return [msgspec.convert(t, TrialRecord) for t in msgspec.json.decode(msgspec.json.encode(trials))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SCHEMES.names())
def test_whatever_happens_every_proposal_is_a_point_of_the_space(name, seed):
    scheme = SCHEMES.get(name)
    setup = setup_for(scheme, seed)
    advisor = load_advisor(scheme, setup)
    r = random.Random(seed)
    pending, no = [], 0
    restart = r.randrange(10, 40)
    for turn in range(40):
        if r.random() < 0.4 and no < limit(advisor, 14):
            no += 1
            check_proposal(setup, no, advisor.propose(no, Ask(worker_id=f"w{no % 3}", budget_used=turn / 40)), advisor)
            pending.append(no)
        elif pending:
            score, is_ended_early = outcome(r)
            advisor.feedback(pending.pop(r.randrange(len(pending))), score, is_ended_early=is_ended_early)
        if turn == restart:
            restored = load_advisor(scheme, setup)
            records = through_json(advisor.trials)
            r.shuffle(records)
            restored.restore(records)
            assert restored.trials == advisor.trials
            for trial in advisor.trials:
                assert restored.propose(trial.no).knobs == trial.knobs
                assert restored.propose(trial.no).start_from_trial == advisor.propose(trial.no).start_from_trial
            advisor = restored
    assert no >= limit(advisor, 8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SCHEMES.names())
def test_a_restored_search_goes_on_as_one_that_was_never_interrupted(name, seed):
    scheme = SCHEMES.get(name)
    setup = setup_for(scheme, seed)
    advisor = load_advisor(scheme, setup)
    r = random.Random(seed)
    n = limit(advisor, r.randint(1, 14))
    for no in range(1, n + 1):
        advisor.propose(no)
        if no < n - 2:
            score, is_ended_early = outcome(r)
            advisor.feedback(no, score, is_ended_early=is_ended_early)
    restored = load_advisor(scheme, setup)
    restored.restore(through_json(advisor.trials))
    for no in range(1, limit(advisor, n + 3) + 1):
        expected, found = advisor.propose(no), restored.propose(no)
        assert found.knobs == expected.knobs
        if no > n:
            assert found == expected
        score, is_ended_early = outcome(r)
        for each in (advisor, restored):
            each.feedback(no, score, is_ended_early=is_ended_early)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", SCHEMES.names())
def test_the_same_setup_gives_the_same_search_and_another_seed_another(name, seed):
    scheme = SCHEMES.get(name)
    setup = msgspec.structs.replace(setup_for(scheme, seed), first_knobs=(), constraints=())

    def walk(setup):
        advisor = load_advisor(scheme, setup)
        for no in range(1, limit(advisor, 8) + 1):
            advisor.feedback(no, float(len(repr(advisor.propose(no).knobs))))
        return [t.knobs for t in advisor.trials]

    walked = walk(setup)
    assert walk(setup) == walked
    size = SearchSpace(setup.knob_config).size
    if (size is None or size > 100) and len(walked) == 8:
        assert walk(msgspec.structs.replace(setup, seed=seed + 1000)) != walked


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
            score, is_ended_early = outcome(r)
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

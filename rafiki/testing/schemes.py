"""What every search scheme promises, checked on random knob configurations: ``check_scheme(SCHEME)`` in a test."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec

from rafiki.advisor.base import Advisor, Ask, SearchSetup, TrialRecord
from rafiki.advisor.scheme import Scheme
from rafiki.advisor.schemes import load_advisor, parse_options
from rafiki.advisor.space import SearchSpace
from rafiki.knob_specs import Knobs
from rafiki.model.constraints import parse_constraints
from rafiki.model.knobs import (
    POLICIES,
    ArchKnob,
    BaseKnob,
    CategoricalKnob,
    FixedKnob,
    FloatKnob,
    IntegerKnob,
    KnobConfig,
    KnobValue,
    PolicyKnob,
    check_knobs,
    knob_config_from_json,
    knob_config_to_json,
)
from rafiki.proposals import Proposal

Makers = list[Callable[[random.Random], BaseKnob]]


def check_scheme(
    scheme: Scheme, *, options: Mapping[str, object] | None = None, seeds: Sequence[int] = range(4)
) -> None:
    """Try a scheme as train jobs do: many workers, failures, early ends, restarts, constraints, knobs to try first.

    Args:
        options: of the scheme.
        seeds: one random configuration each.

    Raises:
        AssertionError: a promise that the scheme does not keep.
    """
    for seed in seeds:
        setup = make_setup(scheme, seed, options or {})
        check_proposals(scheme, setup)
        check_restarts(scheme, setup)
        check_repeatable(scheme, setup)


_SHARED = [KnobValue(i) for i in range(3)]
_NUMBERS: Makers = [
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
_CHOICES: Makers = [
    lambda r: CategoricalKnob(["a", "b", "c"]),
    lambda r: CategoricalKnob([True, False]),
    lambda r: CategoricalKnob([0.5, 0.25, 1e9]),
    lambda r: CategoricalKnob([1, 2, 2, 3]),
    lambda r: CategoricalKnob(["only"]),
    lambda r: CategoricalKnob(list(range(r.choice([40, 400])))),
]
_ARCHES: Makers = [
    lambda r: ArchKnob([_SHARED, _SHARED[:2], [*_SHARED, KnobValue(9)]]),
    lambda r: ArchKnob([["x", "y"]] * r.randint(1, 8)),
    lambda r: ArchKnob([[1], [2]]),
]


def _knobs_of(r: random.Random, makers: Makers, most: int) -> KnobConfig:
    return {f"k{i}": r.choice(makers)(r) for i in range(r.randint(0, most))}


def _config_for(scheme: Scheme, r: random.Random) -> KnobConfig:
    """A random configuration that this scheme does not refuse."""
    fixed: KnobConfig = {"f": FixedKnob(r.choice([3, "x", 0.5, True]))} if r.random() < 0.5 else {}
    some: KnobConfig = {p.lower(): PolicyKnob(p) for p in POLICIES if r.random() < 0.4}
    every: KnobConfig = {p.lower(): PolicyKnob(p) for p in POLICIES}
    for _ in range(100):
        kinds = r.choice([_NUMBERS, _NUMBERS + _CHOICES, _NUMBERS + _CHOICES + _ARCHES, _CHOICES, _ARCHES, []])
        config = _knobs_of(r, kinds, 6) | fixed | r.choice([{}, some, every]) if kinds else fixed | some
        if scheme.refuse(config) is None:
            items = list(config.items())
            r.shuffle(items)
            return dict(items)
    raise AssertionError(f"{scheme.name} refuses every configuration")


def _constraints_for(config: KnobConfig, r: random.Random) -> list[str]:
    """Up to two constraints that leave a good deal of the space."""
    space = SearchSpace(config)
    drawn = [space.knobs(space.draw(r)) for _ in range(40)]
    found: list[str] = []
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


def make_setup(scheme: Scheme, seed: int, options: Mapping[str, object] | None = None) -> SearchSetup:
    """A random search that the scheme does not refuse."""
    r = random.Random(f"{scheme.name}/{seed}")
    config = _config_for(scheme, r)
    constraints = _constraints_for(config, r) if r.random() < 0.6 else []
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
        options=parse_options(scheme, options or {}),
        constraints=tuple(constraints),
        first_knobs=tuple(first),
        history=tuple([*history, strange] if history else []),
    )


def _check_proposal(setup: SearchSetup, no: int, proposal: Proposal, advisor: Advisor) -> None:
    config = setup.knob_config
    checked = check_knobs(config, proposal.knobs)
    assert checked == proposal.knobs
    for name, knob in config.items():
        value = proposal.knobs[name]
        if isinstance(knob, ArchKnob):
            assert isinstance(value, list)
            for choice, position in zip(value, knob.items, strict=True):
                assert type(choice) in {v.dtype for v in position}, f"{name}: {choice!r} is of no candidate's type"
        else:
            assert type(value) is knob.value_type, f"{name}: {value!r} is of another type than the knob"
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
        assert advisor.continues_trials, "say so: parameters of other trials are freed while the search goes on"
        states = {t.no: t.state for t in advisor.trials}
        assert proposal.start_from_trial < no
        assert states[proposal.start_from_trial] == "completed"
    assert advisor.propose(no) == proposal


def _outcome(r: random.Random) -> tuple[float | None, bool]:
    score = r.choice([r.gauss(0, 1), r.random(), None, math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0, 5e-324])
    return score, r.random() < 0.3


def _limit(advisor: Advisor, n: int) -> int:
    return n if advisor.max_trials is None else min(n, advisor.max_trials)


def _through_json(trials: list[TrialRecord]) -> list[TrialRecord]:
    return [msgspec.convert(t, TrialRecord) for t in msgspec.json.decode(msgspec.json.encode(trials))]


def check_proposals(scheme: Scheme, setup: SearchSetup) -> None:
    """Whatever happens, every proposal is a point of the space, and a restart changes none."""
    advisor = load_advisor(scheme, setup)
    r = random.Random(setup.seed)
    pending: list[int] = []
    no = 0
    restart = r.randrange(10, 40)
    for turn in range(40):
        if r.random() < 0.4 and no < _limit(advisor, 14):
            no += 1
            proposal = advisor.propose(no, Ask(worker_id=f"w{no % 3}", budget_used=turn / 40))
            _check_proposal(setup, no, proposal, advisor)
            pending.append(no)
        elif pending:
            score, is_ended_early = _outcome(r)
            advisor.feedback(pending.pop(r.randrange(len(pending))), score, is_ended_early=is_ended_early)
        if turn == restart:
            restored = load_advisor(scheme, setup)
            records = _through_json(advisor.trials)
            r.shuffle(records)
            restored.restore(records)
            assert restored.trials == advisor.trials, "a restored search has other trials"
            for trial in advisor.trials:
                assert restored.propose(trial.no).knobs == trial.knobs, (
                    f"trial {trial.no} has other knobs when restored"
                )
                assert restored.propose(trial.no).start_from_trial == advisor.propose(trial.no).start_from_trial
            advisor = restored
    assert no >= _limit(advisor, 8)


def check_restarts(scheme: Scheme, setup: SearchSetup) -> None:
    """A restored search goes on as one that was never interrupted."""
    advisor = load_advisor(scheme, setup)
    r = random.Random(setup.seed)
    n = _limit(advisor, r.randint(1, 14))
    for no in range(1, n + 1):
        advisor.propose(no)
        if no < n - 2:
            score, is_ended_early = _outcome(r)
            advisor.feedback(no, score, is_ended_early=is_ended_early)
    restored = load_advisor(scheme, setup)
    restored.restore(_through_json(advisor.trials))
    for no in range(1, _limit(advisor, n + 3) + 1):
        expected, found = advisor.propose(no), restored.propose(no)
        assert found.knobs == expected.knobs, f"trial {no} has other knobs after a restart"
        if no > n:
            assert found == expected, f"trial {no} is another after a restart"
        score, is_ended_early = _outcome(r)
        for each in (advisor, restored):
            each.feedback(no, score, is_ended_early=is_ended_early)


def check_repeatable(scheme: Scheme, setup: SearchSetup) -> None:
    """The same setup gives the same search, and another seed another."""
    setup = msgspec.structs.replace(setup, first_knobs=(), constraints=())

    def walk(setup: SearchSetup) -> list[Knobs]:
        advisor = load_advisor(scheme, setup)
        for no in range(1, _limit(advisor, 8) + 1):
            advisor.feedback(no, float(len(repr(advisor.propose(no).knobs))))
        return [t.knobs for t in advisor.trials]

    walked = walk(setup)
    assert walk(setup) == walked, "the same setup gives another search"
    size = SearchSpace(setup.knob_config).size
    if (size is None or size > 100) and len(walked) == 8:
        assert walk(msgspec.structs.replace(setup, seed=setup.seed + 1000)) != walked, "the seed changes nothing"

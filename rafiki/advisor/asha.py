"""Asynchronous successive halving: many trials begin, few go on to their end."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rafiki.advisor.asha_rule import AshaRuleOptions
from rafiki.advisor.base import Advisor, Ask, SchemeOptions, SearchSetup, TrialRecord, with_knobs
from rafiki.advisor.scheme import Scheme, refuse_fixed
from rafiki.advisor.schemes import SCHEMES, load_advisor
from rafiki.errors import InvalidTrainJobError
from rafiki.model.knobs import FixedKnob
from rafiki.proposals import Proposal

_SEARCHES = ("bayes", "random")


class AshaOptions(SchemeOptions, frozen=True, kw_only=True):
    eta: Annotated[float, Meta(gt=1.0)] = 3.0
    """One trial in so many goes on at each rung."""
    min_step: Annotated[float, Meta(gt=0.0)] = 1.0
    """The step of the first rung; the others lie at its multiples by powers of eta."""
    search: Literal["bayes", "random"] = "bayes"
    """Where the knobs come from."""


class AshaAdvisor(Advisor):
    """Knobs from another scheme, for trials that :class:`~rafiki.advisor.asha_rule.AshaRule` ends at its rungs.

    Li et al., "A system for massively parallel hyperparameter tuning", 2020, with the random search of algorithm 2, or
    with a Bayesian one as in Klein et al., "Model-based asynchronous hyperparameter and neural architecture search",
    2020, section 3. Where Bayesian optimisation cannot search the knobs (architectures), they are drawn.

    Policies are off, ``EARLY_STOP`` too: the rungs decide how long a trial trains, and the survivors have trained in
    full when they end.

    Raises:
        InvalidTrainJobError: for an option ``search`` that is neither.
    """

    scheme = "asha"

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        options = setup.options
        assert isinstance(options, AshaOptions)
        if options.search not in _SEARCHES:
            raise InvalidTrainJobError(
                f"The option search of the asha scheme must be {' or '.join(_SEARCHES)}, not {options.search!r}."
            )
        self._off = dict.fromkeys(self.space.policy_knobs("EARLY_STOP"), False)
        config = {name: FixedKnob(False) if name in self._off else knob for name, knob in setup.knob_config.items()}
        scheme = SCHEMES.get(options.search)
        if scheme.refuse(config) is not None:
            scheme = SCHEMES.get("random")
        self._search = load_advisor(
            scheme,
            msgspec.structs.replace(
                setup,
                knob_config=config,
                first_knobs=(),
                history=tuple(self._as_searched(t) for t in setup.history),
                options=scheme.options(),
            ),
        )

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        found = self._search.propose(no, ask)
        return self._proposal(found.knobs, found.phase, search=self._search.scheme)

    def _add(self, no: int, proposal: Proposal, worker_id: str | None) -> None:
        super()._add(no, proposal, worker_id)
        # Known already, unless it was restored or is one of the first that the user gave.
        self._search.restore([self._as_searched(self._trials[no])])

    def _as_searched(self, trial: TrialRecord) -> TrialRecord:
        return with_knobs(trial, trial.knobs | self._off)

    def _learn(self, trial: TrialRecord) -> None:
        self._search.feedback(trial.no, trial.score, is_ended_early=trial.is_ended_early)


def _rule_options(options: SchemeOptions) -> AshaRuleOptions:
    assert isinstance(options, AshaOptions)
    return AshaRuleOptions(eta=options.eta, min_step=options.min_step)


SCHEME = Scheme(
    name="asha",
    summary="asynchronous successive halving",
    advisor=AshaAdvisor,
    refuse=refuse_fixed,
    options=AshaOptions,
    rule="asha",
    rule_options=_rule_options,
)

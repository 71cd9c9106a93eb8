"""Bayesian optimisation in which trials go on from the parameters of earlier ones."""

from __future__ import annotations

import math

import msgspec

from rafiki.advisor.base import Ask, SearchSetup
from rafiki.advisor.bayes import BayesAdvisor
from rafiki.advisor.space import Key
from rafiki.constants import SharePolicy
from rafiki.knob_specs import Knobs
from rafiki.proposals import Proposal

_DECAY = 4.0


class SharingAdvisor(BayesAdvisor):
    """For models that declare ``SHARE_PARAMS``.

    Trial t of T starts afresh with probability exp(-4 t / T), else from the shared parameters with the best score: so
    the search explores at first and refines later. ``SHARE_PARAMS`` is on, and so is ``EARLY_STOP`` where the model has
    it; there are no final full trainings, because a trial's parameters carry over from all before it. Where time
    alone ends the search, t / T is the share of it that is used up.
    """

    scheme = "sharing"
    _trains_finals = False

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        self._share = self.space.policy_knobs("SHARE_PARAMS")

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        proposal = super()._suggest(no, ask)
        limit = self.setup.trial_limit
        used = ask.budget_used if limit is None else (no - 1) / limit
        p_afresh = math.exp(-_DECAY * used)
        is_afresh = self._rng(f"share/{no}").random() < p_afresh
        return msgspec.structs.replace(proposal, start_from=None if is_afresh else SharePolicy.GLOBAL_BEST)

    def _first_policies(self) -> Knobs:
        return super()._first_policies() | dict.fromkeys(self._share, True)

    def _with_policies(self, key: Key, is_search: bool) -> Knobs:
        return super()._with_policies(key, is_search=True) | dict.fromkeys(self._share, True)

"""Bayesian optimisation in which trials go on from the parameters of earlier ones."""

from __future__ import annotations

import math

from rafiki.advisor.base import Proposal
from rafiki.advisor.bayes import BayesAdvisor
from rafiki.advisor.space import Key
from rafiki.constants import SharePolicy
from rafiki.model.knobs import KnobConfig, Knobs

_DECAY = 4.0
_UNLIMITED = 100
"""Stands for the number of trials when time alone ends the search."""


class SharingAdvisor(BayesAdvisor):
    """For models that declare ``SHARE_PARAMS``.

    Trial t of T starts afresh with probability exp(-4 t / T), else from the shared parameters with the best score: so
    the search explores at first and refines later. ``SHARE_PARAMS`` is on, and so is ``EARLY_STOP`` where the model has
    it; there are no final full trainings, because a trial's parameters carry over from all before it.

    Args:
        trial_limit: T; None when only time ends the search.
    """

    scheme = "sharing"

    def __init__(self, knob_config: KnobConfig, seed: int, trial_limit: int | None = None) -> None:
        super().__init__(knob_config, seed, trial_limit)
        self._share = self._space.policy_knobs("SHARE_PARAMS")
        self._first_final = None
        self._t_max = trial_limit or _UNLIMITED

    def _suggest(self, no: int) -> Proposal:
        proposal = super()._suggest(no)
        p_afresh = math.exp(-_DECAY * (no - 1) / self._t_max)
        is_afresh = self._rng(f"share/{no}").random() < p_afresh
        return Proposal(
            knobs=proposal.knobs, meta=proposal.meta, start_from=None if is_afresh else SharePolicy.GLOBAL_BEST
        )

    def _with_policies(self, key: Key, is_search: bool) -> Knobs:
        return super()._with_policies(key, is_search=True) | dict.fromkeys(self._share, True)

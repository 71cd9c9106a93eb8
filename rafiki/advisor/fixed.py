"""The scheme for a model without anything to search: one trial."""

from __future__ import annotations

from rafiki.advisor.base import Advisor, Proposal
from rafiki.advisor.space import SearchSpace
from rafiki.model.knobs import KnobConfig


class FixedAdvisor(Advisor):
    """Proposes the one point that fixed knobs leave, with every policy off.

    Raises:
        ModelError: when the configuration leaves more than one point.
    """

    scheme = "fixed"

    def __init__(self, knob_config: KnobConfig, seed: int) -> None:
        super().__init__(knob_config, seed, max_trials=1)
        space = SearchSpace(knob_config)
        self._knobs = space.single_point()

    def _suggest(self, no: int) -> Proposal:
        return self._proposal(dict(self._knobs), "fixed")

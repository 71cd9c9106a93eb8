"""The scheme for a model without anything to search: one trial."""

from __future__ import annotations

from rafiki.advisor.base import Advisor, Ask, SearchSetup
from rafiki.advisor.scheme import Scheme, free_knobs
from rafiki.model.knobs import KnobConfig
from rafiki.proposals import Proposal


class FixedAdvisor(Advisor):
    """Proposes the one point that fixed knobs leave, with every policy off.

    Raises:
        ModelError: when the configuration leaves more than one point.
    """

    scheme = "fixed"

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        self.max_trials = 1
        self._knobs = self.space.single_point()

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        return self._proposal(dict(self._knobs), "fixed")


def _refuse(knob_config: KnobConfig) -> str | None:
    if free := free_knobs(knob_config):
        return f"it tries one point, but the knob(s) {', '.join(free)} leave a choice"
    return None


SCHEME = Scheme(name="fixed", summary="one trial", advisor=FixedAdvisor, refuse=_refuse, is_automatic=True)

"""Random search: every trial is drawn on its own, on each knob's own scale."""

from __future__ import annotations

from rafiki.advisor.base import Advisor, Proposal
from rafiki.advisor.space import SearchSpace, draw_unseen
from rafiki.model.knobs import KnobConfig


class RandomAdvisor(Advisor):
    """Draws points uniformly in the unit cube of the space: log-uniform for knobs with ``is_exp``, one choice
    at each position of an architecture. Points do not repeat while a finite space holds unseen ones. Policies
    are off.
    """

    scheme = "random"

    def __init__(self, knob_config: KnobConfig, seed: int, max_trials: int | None = None) -> None:
        super().__init__(knob_config, seed, max_trials)
        self._space = SearchSpace(knob_config)

    def _suggest(self, no: int) -> Proposal:
        seen = {self._space.key(trial.knobs) for trial in self._trials.values()}
        key = draw_unseen(self._space, self._rng(no), seen)
        return self._proposal(self._space.knobs(key), "random")

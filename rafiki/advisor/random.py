"""Random search: every trial is drawn on its own, on each knob's own scale."""

from __future__ import annotations

from rafiki.advisor.base import Advisor, Ask
from rafiki.advisor.scheme import Scheme
from rafiki.advisor.space import draw_unseen
from rafiki.proposals import Proposal


class RandomAdvisor(Advisor):
    """Draws points uniformly in the unit cube of the space: log-uniform for knobs with ``is_exp``, one choice
    at each position of an architecture. Points do not repeat while a finite space holds unseen ones. Policies
    are off.
    """

    scheme = "random"

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        key = draw_unseen(self.space, self._rng(no), self._seen())
        return self._proposal(self.space.knobs(key), "random")


SCHEME = Scheme(name="random", summary="independent draws", advisor=RandomAdvisor, rule="median", is_automatic=True)

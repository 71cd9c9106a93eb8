"""The entry of :mod:`rafiki.advisor.enas`, which loads numpy."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rafiki.advisor.base import SchemeOptions
from rafiki.advisor.scheme import Scheme, free_knobs, has_policy
from rafiki.model.knobs import POLICIES, ArchKnob, KnobConfig

_PositiveInt = Annotated[int, Meta(ge=1)]


class EnasOptions(SchemeOptions, frozen=True, kw_only=True):
    """Shares of the budget, and of the cycle that alternates training and searching."""

    final_share: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.1
    """The share of the budget for the final evaluations and the full training of the best architecture."""
    searches_per_training: _PositiveInt = 20
    """Controller evaluations after each training of the shared weights, on each worker."""
    n_finals: _PositiveInt = 10
    """Architectures that are evaluated once more before the best is trained in full."""


def _refuse(knob_config: KnobConfig) -> str | None:
    if other := [n for n in free_knobs(knob_config) if not isinstance(knob_config[n], ArchKnob)]:
        return f"it searches architectures (ArchKnob), not the knob(s) {', '.join(other)}"
    if not free_knobs(knob_config):
        return "there is no ArchKnob"
    if lacking := [p for p in POLICIES if not has_policy(knob_config, p)]:
        return f"the model lacks the policy knob(s) {', '.join(lacking)}"
    return None


SCHEME = Scheme(
    name="enas",
    summary="efficient architecture search",
    advisor="rafiki.advisor.enas:EnasAdvisor",
    refuse=_refuse,
    options=EnasOptions,
    is_automatic=True,
)

"""The entry of :mod:`rafiki.advisor.cmaes`, which loads numpy and the ``cmaes`` package."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rafiki.advisor.base import SchemeOptions
from rafiki.advisor.scheme import Scheme, refuse_fixed


class CmaesOptions(SchemeOptions, frozen=True, kw_only=True):
    sigma: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.25
    """First step size, as a share of each knob's range."""
    population: Annotated[int, Meta(ge=4)] | None = None
    """Trials of one generation; None = 4 + 3 ln(number of knobs)."""


SCHEME = Scheme(
    name="cmaes",
    summary="covariance matrix adaptation",
    advisor="rafiki.advisor.cmaes:CmaesAdvisor",
    refuse=refuse_fixed,
    options=CmaesOptions,
    rule="median",
    requires="cmaes",
    extra="search",
)

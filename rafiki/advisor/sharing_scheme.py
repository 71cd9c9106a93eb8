"""The entry of :mod:`rafiki.advisor.sharing`, which loads numpy."""

from __future__ import annotations

from rafiki.advisor.scheme import Scheme, refuse_unshared

SCHEME = Scheme(
    name="sharing",
    summary="Bayesian optimisation with shared parameters",
    advisor="rafiki.advisor.sharing:SharingAdvisor",
    refuse=refuse_unshared,
    is_automatic=True,
)

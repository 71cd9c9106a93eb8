"""The entry of :mod:`rafiki.advisor.bayes`, which loads numpy."""

from __future__ import annotations

from rafiki.advisor.scheme import Scheme, refuse_arch

SCHEME = Scheme(
    name="bayes",
    summary="Bayesian optimisation",
    advisor="rafiki.advisor.bayes:BayesAdvisor",
    refuse=refuse_arch,
    rule="median",
    is_automatic=True,
)

"""The entry of :mod:`rafiki.advisor.tpe`, which loads Optuna."""

from __future__ import annotations

from rafiki.advisor.scheme import Scheme, refuse_fixed

SCHEME = Scheme(
    name="tpe",
    summary="tree-structured Parzen estimator (Optuna)",
    advisor="rafiki.advisor.tpe:TpeAdvisor",
    refuse=refuse_fixed,
    rule="median",
    requires="optuna",
    extra="search",
)

"""Options of the search schemes that have some. Apart from the schemes, so that the admin checks a job without
loading numpy.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rafiki.advisor.base import SchemeOptions

PositiveInt = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(gt=0.0, lt=1.0)]


class GridOptions(SchemeOptions, frozen=True, kw_only=True):
    points: Annotated[int, Meta(ge=2, le=1000)] = 5
    """Values of each float knob, and the most of an integer knob, spread evenly on its own scale."""


class CmaesOptions(SchemeOptions, frozen=True, kw_only=True):
    sigma: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.25
    """First step size, as a share of each knob's range."""
    population: Annotated[int, Meta(ge=4)] | None = None
    """Trials of one generation; None = 4 + 3 ln(number of knobs)."""


class AshaOptions(SchemeOptions, frozen=True, kw_only=True):
    eta: Annotated[float, Meta(gt=1.0)] = 3.0
    """One trial in so many goes on at each rung."""
    min_step: Annotated[float, Meta(gt=0.0)] = 1.0
    """The step of the first rung; the others lie at its multiples by powers of eta."""
    search: Literal["bayes", "random"] = "bayes"
    """Where the knobs come from."""


class PbtOptions(SchemeOptions, frozen=True, kw_only=True):
    population: Annotated[int, Meta(ge=2)] = 8
    """How many lines of descent; each goes on from its own parameters or from a better one's."""
    quantile: Share = 0.25
    """A line in the lowest such share takes over the parameters and knobs of one in the highest."""
    resample: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.25
    """How often a knob is drawn anew rather than perturbed."""


class EnasOptions(SchemeOptions, frozen=True, kw_only=True):
    """Shares of the budget, and of the cycle that alternates training and searching."""

    final_share: Share = 0.1
    """The share of the budget for the final evaluations and the full training of the best architecture."""
    searches_per_training: PositiveInt = 20
    """Controller evaluations after each training of the shared weights, on each worker."""
    n_finals: PositiveInt = 10
    """Architectures that are evaluated once more before the best is trained in full."""

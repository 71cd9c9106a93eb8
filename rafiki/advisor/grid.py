"""Grid search: every combination of a few values of each knob, in an order that is spread from its beginning."""

from __future__ import annotations

import math
import random
from array import array
from typing import Annotated

from msgspec import Meta

from rafiki.advisor.base import Advisor, Ask, SchemeOptions, SearchSetup
from rafiki.advisor.scheme import Scheme, refuse_fixed
from rafiki.advisor.space import Dimension, FloatDimension, IntegerDimension, Key
from rafiki.errors import ModelError
from rafiki.knob_specs import Scalar
from rafiki.proposals import Proposal

_MOST_POINTS = 10**9
_MOST_FILTERED = 200_000
"""Points that constraints are checked for; it takes some seconds."""


class GridOptions(SchemeOptions, frozen=True, kw_only=True):
    points: Annotated[int, Meta(ge=2, le=1000)] = 5
    """Values of each float knob, and the most of an integer knob, spread evenly on its own scale."""


class GridAdvisor(Advisor):
    """All combinations of ``points`` values of each float knob, evenly spread on its own scale with both ends; of at
    most as many values of each integer knob; and of all choices. Each is tried once; the search ends with the last.

    The order is such that a search that is cut short has looked everywhere: see :class:`SpreadGrid`. Policies are off.

    Raises:
        ModelError: when the grid is larger than any search, or the constraints leave none of its points.
    """

    scheme = "grid"

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        options = setup.options
        assert isinstance(options, GridOptions)
        self._values = [grid_values(d, options.points) for d in self.space.dimensions]
        self._grid = SpreadGrid([len(values) for values in self._values], self._rng("grid"))
        if self._grid.size > _MOST_POINTS:
            raise ModelError(
                f"The grid has {self._grid.size:.3g} points; {_MOST_POINTS:,} are the most. Take fewer points of each "
                "knob, fix some knobs, or use another search scheme."
            )
        self._n_first = len(setup.first_knobs)
        first = {self.space.key(self._first(no).knobs) for no in range(1, self._n_first + 1)}
        self._kept = self._filter(first) if self.space.is_constrained else None
        """Places on the grid of the points to try; None for all but those skipped."""
        self._skipped = sorted(place for key in first if (place := self._place(key)) is not None)
        n_points = self._grid.size - len(self._skipped) if self._kept is None else len(self._kept)
        self.max_trials = self._n_first + n_points

    def _filter(self, first: set[Key]) -> array[int]:
        size = self._grid.size
        if size > _MOST_FILTERED:
            raise ModelError(
                f"The grid has {size:,} points; with constraints {_MOST_FILTERED:,} are the most. Take fewer points of "
                "each knob, fix some knobs, or use another search scheme."
            )
        kept = array("q", (i for i in range(size) if self.space.allows_key(key := self._key(i)) and key not in first))
        if not kept and not first:
            raise ModelError(
                "No point of the grid satisfies the constraints. Take more points of each knob, or loosen them."
            )
        return kept

    def _key(self, place: int) -> Key:
        return tuple(values[k] for values, k in zip(self._values, self._grid.point(place), strict=True))

    def _place(self, key: Key) -> int | None:
        """The position of a point on the grid; None beside it."""
        if not all(value in values for values, value in zip(self._values, key, strict=True)):
            return None
        return self._grid.place([values.index(value) for values, value in zip(self._values, key, strict=True)])

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        place = no - 1 - self._n_first
        if self._kept is not None:
            place = self._kept[place]
        else:
            for skipped in self._skipped:
                place += skipped <= place
        return self._proposal(self.space.knobs(self._key(place)), "grid")


class SpreadGrid:
    """The points of a grid in an order of which every beginning is spread, computed without making the others.

    The longest dimension goes through all its values before one comes again; with each comes a value of every other
    dimension, paired at random but evenly, which makes as many points a Latin hypercube. The next block of as many
    is shifted in the other dimensions by the next point of their own spread grid, and so on.

    Args:
        counts: values of each dimension.
    """

    def __init__(self, counts: list[int], rng: random.Random) -> None:
        self.size = math.prod(counts)
        self._counts = counts
        self._order = sorted(range(len(counts)), key=lambda j: (-counts[j], j))
        """Dimensions by length, the longest first."""
        self._seed = rng.getrandbits(64)
        self._shuffles: dict[tuple[int, int], list[int]] = {}

    def point(self, i: int) -> list[int]:
        """Which value of each dimension the point in place ``i`` (0 to ``size - 1``) has."""
        found = [0] * len(self._counts)
        for level, j in enumerate(self._order):
            i, turn = divmod(i, self._counts[j])
            # No two places meet: the first dimension gives away the turn, which gives away what it adds to the others.
            for other in self._order[level:]:
                count = self._counts[other]
                found[other] = (found[other] + self._shuffled(level, other)[turn % count]) % count
        return found

    def place(self, point: list[int]) -> int:
        """The place of a point: the inverse of :meth:`point`."""
        added = [0] * len(point)
        place, scale = 0, 1
        for level, j in enumerate(self._order):
            turn = self._shuffled(level, j).index((point[j] - added[j]) % self._counts[j])
            place, scale = place + turn * scale, scale * self._counts[j]
            for other in self._order[level:]:
                count = self._counts[other]
                added[other] = (added[other] + self._shuffled(level, other)[turn % count]) % count
        return place

    def _shuffled(self, level: int, j: int) -> list[int]:
        if (level, j) not in self._shuffles:
            values = list(range(self._counts[j]))
            random.Random(f"{self._seed}/{level}/{j}").shuffle(values)
            self._shuffles[level, j] = values
        return self._shuffles[level, j]


def grid_values(dimension: Dimension, points: int) -> list[Scalar]:
    """The values of a dimension on the grid, in ascending order; ``points`` is 2 or more."""
    if isinstance(dimension, FloatDimension):
        inner = [dimension.from_unit(k / (points - 1)) for k in range(1, points - 1)]
        # Neighbouring floats, and logarithms, round to the same value; and to one beside the end that they should hit.
        return sorted({dimension.low, *inner, dimension.high})
    if isinstance(dimension, IntegerDimension) and dimension.count > points:
        low, high = dimension.low, dimension.high
        if dimension.is_exp:
            ratio = math.log(high / low)
            inner_integers = [round(low * math.exp(ratio * k / (points - 1))) for k in range(1, points - 1)]
        else:
            inner_integers = [low + (high - low) * k // (points - 1) for k in range(1, points - 1)]
        return sorted({low, *(min(max(v, low), high) for v in inner_integers), high})
    return list(dimension.values())


SCHEME = Scheme(
    name="grid",
    summary="all combinations",
    advisor=GridAdvisor,
    refuse=refuse_fixed,
    options=GridOptions,
    is_light=True,
)

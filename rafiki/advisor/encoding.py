"""The search space as numpy sees it: snapping coordinates to values, features for a Gaussian process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.space import ChoiceDimension, IntegerDimension, SearchSpace

Array = NDArray[np.float64]


class Encoding:
    """Vectorised views of the dimensions of a space. ``d`` dimensions become ``p >= d`` features.

    Numbers keep their unit coordinate. A choice of k candidates becomes k one-hot columns, scaled so that any
    two candidates lie at distance 1; they share one length scale (:attr:`group`), which makes the kernel one
    of the Hamming distance.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        dimensions = space.dimensions
        self.n_dimensions = len(dimensions)
        self.is_choice = np.array([isinstance(d, ChoiceDimension) for d in dimensions], dtype=bool)
        widths = [d.count if isinstance(d, ChoiceDimension) else 1 for d in dimensions]
        self._starts = np.concatenate([[0], np.cumsum(widths)]).astype(int)
        self.group = np.repeat(np.arange(self.n_dimensions), widths)
        """Of each feature: its dimension."""
        self.is_smooth = np.array([d.count is None for d in dimensions], dtype=bool)
        """Of each dimension: whether it is a continuum, along which a gradient leads somewhere."""
        self.bin_width = np.array([0.0 if d.count is None else 1.0 / d.count for d in dimensions])

    def snap(self, unit: Array) -> Array:
        """Coordinates (m, d) moved to those of the value that each stands for.

        The kernel must see the value that will really be tried (Garrido-Merchan and Hernandez-Lobato,
        "Dealing with categorical and integer-valued variables in Bayesian optimization with Gaussian
        processes", 2020).
        """
        out = np.clip(unit, 0.0, 1.0)
        for j, dimension in enumerate(self._space.dimensions):
            if isinstance(dimension, ChoiceDimension):
                index = np.minimum(np.floor(out[:, j] * dimension.count), dimension.count - 1)
                out[:, j] = (index + 0.5) / dimension.count
            elif isinstance(dimension, IntegerDimension):
                x = dimension.start + out[:, j] * dimension.span
                value = np.clip(np.rint(np.exp(x) if dimension.is_exp else x), dimension.low, dimension.high)
                scaled = np.log(value) if dimension.is_exp else value
                out[:, j] = np.clip((scaled - dimension.start) / dimension.span, 0.0, 1.0)
        return out

    def features(self, unit: Array) -> Array:
        """Features (m, p) of snapped coordinates (m, d)."""
        if not self.is_choice.any():
            return unit
        out = np.zeros((len(unit), int(self._starts[-1])))
        rows = np.arange(len(unit))
        for j, start in enumerate(self._starts[:-1]):
            if self.is_choice[j]:
                width = self._starts[j + 1] - start
                index = np.minimum((unit[:, j] * width).astype(int), width - 1)
                out[rows, start + index] = np.sqrt(0.5)
            else:
                out[:, start] = unit[:, j]
        return out

    def smooth_features(self) -> NDArray[np.intp]:
        """The features that belong to continuous dimensions, in the order of the dimensions."""
        return np.asarray(self._starts[:-1][self.is_smooth], dtype=np.intp)

"""Adam, and the moving average that rewards are held against: the small parts of training a controller."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_CLIP = 5.0


class Adam:
    """Steps of gradient descent whose size adapts to each weight. Kingma and Ba, "Adam: a method for stochastic
    optimization", 2015, algorithm 1. Gradients longer than 5 are cut to that length.
    """

    def __init__(
        self, size: int, learning_rate: float, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self._rate, self._beta1, self._beta2, self._epsilon = learning_rate, beta1, beta2, epsilon
        self._m, self._v, self._t = np.zeros(size), np.zeros(size), 0

    def step(self, weights: npt.NDArray[np.float64], gradient: npt.NDArray[np.float64]) -> None:
        """Change ``weights`` in place."""
        length = float(np.linalg.norm(gradient))
        if length > _CLIP:
            gradient = gradient * (_CLIP / length)
        self._t += 1
        self._m += (1 - self._beta1) * (gradient - self._m)
        self._v += (1 - self._beta2) * (gradient**2 - self._v)
        rate = self._rate * math.sqrt(1 - self._beta2**self._t) / (1 - self._beta1**self._t)
        weights -= rate * self._m / (np.sqrt(self._v) + self._epsilon)


class Baseline:
    """What reward to expect: a moving average of the last ones, and how widely they spread.

    Scores are of any size (accuracies, negated errors in the thousands), so the advantage is given in units of that
    width. A fixed number of rewards at first count alike; later ones push old ones out.
    """

    _MEMORY = 20
    _AFTER_CHANGE = 3
    _WIDEST = 3.0

    def __init__(self) -> None:
        self._n = 0
        self._mean = 0.0
        self._variance = 0.0

    def advantage(self, reward: float) -> float:
        """How much better than expected a reward is, in standard deviations, at most 3 either way. Takes it in."""
        if self._n == 0:
            self._n, self._mean = 1, reward
            return 0.0
        distance = reward - self._mean
        width = math.sqrt(self._variance)
        self._n = min(self._n + 1, self._MEMORY)
        share = 1 / self._n
        self._mean += share * distance
        self._variance = (1 - share) * (self._variance + share * distance * distance)
        if not math.isfinite(self._variance):
            self._n, self._mean, self._variance = 1, reward, 0.0
            return 0.0
        width = width or math.sqrt(self._variance)
        return max(-self._WIDEST, min(self._WIDEST, distance / width)) if width > 0 else 0.0

    def expect_change(self) -> None:
        """The weights that were evaluated are others now: the rewards so far count for few of the next."""
        self._n = min(self._n, self._AFTER_CHANGE)

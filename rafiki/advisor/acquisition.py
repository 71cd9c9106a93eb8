"""Log expected improvement."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.gp import Posterior

Array: TypeAlias = NDArray[np.float64]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_TAIL = -25.0
_erfc = np.frompyfunc(math.erfc, 1, 1)


def log_h(z: Array) -> tuple[Array, Array]:
    """``log h(z)`` with ``h = phi + z Phi``, and its derivative ``Phi / h``; elementwise, for any finite z.

    The logarithm of expected improvement without its underflow (Ament, Daulton, Eriksson, Balandat and
    Bakshy, "Unexpected improvements to expected improvement for Bayesian optimization", 2023, section 4.1).
    Double precision carries the direct form down to z = -25; below it the asymptotic series of Mills' ratio
    takes over.
    """
    z = np.asarray(z, dtype=np.float64)
    direct = np.maximum(z, _TAIL)
    phi = np.exp(-0.5 * direct * direct - _LOG_SQRT_2PI)
    cdf = 0.5 * np.asarray(_erfc(-direct / math.sqrt(2)), dtype=np.float64)
    h = phi + direct * cdf
    tail = np.minimum(z, _TAIL)
    u = 1 / (tail * tail)
    # h = phi(z) / z^2 (1 - 3/z^2 + 15/z^4 - ...) and Phi = phi(z) / |z| (1 - 1/z^2 + 3/z^4 - ...).
    series = 1 - 3 * u + 15 * u * u - 105 * u**3
    tail_log = -0.5 * tail * tail - _LOG_SQRT_2PI + np.log(u) + np.log(series)
    tail_slope = -tail * (1 - u + 3 * u * u - 15 * u**3) / series
    is_direct = z > _TAIL
    return np.where(is_direct, np.log(h), tail_log), np.where(is_direct, cdf / h, tail_slope)


class LogExpectedImprovement:
    """Log expected improvement over ``best`` (in the units of the posterior's y; higher is better)."""

    def __init__(self, posterior: Posterior, best: float) -> None:
        self._posterior, self._best = posterior, best

    def __call__(self, features: Array) -> Array:
        """Values (m,) at features (m, p)."""
        mean, sd = self._posterior.predict(features)
        return np.asarray(np.log(sd) + log_h((mean - self._best) / sd)[0])

    def with_gradient(self, feature: Array) -> tuple[float, Array]:
        """The value and its gradient (p,) at one point (p,)."""
        mean, sd, mean_slope, sd_slope = self._posterior.predict_with_gradient(feature)
        z = (mean - self._best) / sd
        value, slope = log_h(np.array([z]))
        gradient = sd_slope / sd + slope[0] * (mean_slope - z * sd_slope) / sd
        return math.log(sd) + float(value[0]), gradient

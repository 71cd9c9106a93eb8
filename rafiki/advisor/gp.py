"""A Gaussian process with a Matern-5/2 kernel and one length scale a dimension, on plain numpy.

Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006 (GPML); Snoek, Larochelle and
Adams, "Practical Bayesian optimization of machine learning algorithms", 2012, section 3.1 (kernel).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.optimize import minimize_in_box

Array: TypeAlias = NDArray[np.float64]

_SQRT5 = 5**0.5
_LOG_2PI = float(np.log(2 * np.pi))
_JITTERS = (0.0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2)

# Weak priors on the logarithms of length scales, signal variance and noise variance, for inputs in the unit
# cube and outputs of variance 1: mean and standard deviation. Length scales grow with the number of
# dimensions, because distances in the cube do (Hvarfner, Hellsten and Nardi, "Vanilla Bayesian optimization
# performs great in high dimensions", 2024).
_LENGTH_MEDIAN, _LENGTH_SD = 0.3, 1.0
_SIGNAL_MEDIAN, _SIGNAL_SD = 1.0, 1.0
_NOISE_MEDIAN, _NOISE_SD = 1e-4, 2.5
_BOUNDS = {"length": (0.03, 30.0), "signal": (0.05, 50.0), "noise": (1e-6, 1.0)}


def _prior(n_dimensions: int) -> tuple[Array, Array]:
    """Means and standard deviations of theta, shape (n_dimensions + 2,)."""
    length = np.log(_LENGTH_MEDIAN) + 0.5 * np.log(max(n_dimensions, 1))
    mean = np.concatenate([np.full(n_dimensions, length), np.log([_SIGNAL_MEDIAN, _NOISE_MEDIAN])])
    sd = np.concatenate([np.full(n_dimensions, _LENGTH_SD), [_SIGNAL_SD, _NOISE_SD]])
    return mean, sd


def default_theta(n_dimensions: int) -> Array:
    """The mode of the priors, (n_dimensions + 2,): log length scales, log signal and log noise variance."""
    return _prior(n_dimensions)[0]


def robust_cholesky(matrix: Array) -> Array:
    """The lower Cholesky factor (n, n) of a symmetric matrix, its diagonal raised as little as it takes.

    Raises:
        numpy.linalg.LinAlgError: when the matrix is not even nearly positive definite.
    """
    scale = float(np.mean(np.diag(matrix)))
    for jitter in _JITTERS:
        try:
            factor = np.linalg.cholesky(matrix + jitter * scale * np.eye(len(matrix)))
        except np.linalg.LinAlgError:
            continue
        return np.asarray(factor, dtype=np.float64)
    raise np.linalg.LinAlgError("The covariance matrix is not positive definite, even with jitter.")


def _matern(r: Array) -> Array:
    """Matern-5/2 correlation (GPML equation 4.17) of scaled distances ``r``."""
    s = _SQRT5 * r
    return np.asarray((1 + s + s * s / 3) * np.exp(-s))


def _matern_slope(r: Array) -> Array:
    """``-(dk/dr)/r`` of the Matern-5/2 correlation, which stays finite at r = 0."""
    s = _SQRT5 * r
    return np.asarray(5 / 3 * (1 + s) * np.exp(-s))


def squared_differences(features: Array, group: NDArray[np.intp]) -> Array:
    """Squared distances of all pairs of rows along each dimension: (n, p) features to (d, n * n)."""
    n, n_dimensions = len(features), int(group.max(initial=-1)) + 1
    out = np.zeros((n_dimensions, n, n))
    for column, dimension in enumerate(group):
        x = features[:, column]
        out[dimension] += (x[:, None] - x[None, :]) ** 2
    return out.reshape(n_dimensions, n * n)


class MarginalLikelihood:
    """Negative log posterior of theta given data, with its gradient (GPML equations 2.30 and 5.9)."""

    def __init__(self, features: Array, y: Array, group: NDArray[np.intp]) -> None:
        self._squared = squared_differences(features, group)
        self._y = y
        self._mean, self._sd = _prior(len(self._squared))

    def __call__(self, theta: Array) -> tuple[float, Array]:
        n, n_dimensions = len(self._y), len(self._squared)
        inverse_squares = np.exp(-2 * theta[:n_dimensions])
        signal, noise = np.exp(theta[n_dimensions:])
        r = np.sqrt(inverse_squares @ self._squared).reshape(n, n)
        kernel = signal * _matern(r)
        covariance = kernel + noise * np.eye(n)
        try:
            factor = robust_cholesky(covariance)
            inverse = np.linalg.inv(covariance)
        except np.linalg.LinAlgError:
            return float("inf"), np.zeros_like(theta)
        alpha = inverse @ self._y
        z = (theta - self._mean) / self._sd
        value = 0.5 * float(self._y @ alpha) + float(np.log(np.diag(factor)).sum()) + 0.5 * n * _LOG_2PI
        value += 0.5 * float(z @ z)
        # Half of K^-1 - alpha alpha^T, whose inner product with dK/dtheta_j is the derivative.
        weight = 0.5 * (inverse - np.outer(alpha, alpha))
        gradient = np.empty_like(theta)
        slope = (weight * _matern_slope(r)).ravel()
        gradient[:n_dimensions] = signal * inverse_squares * (self._squared @ slope)
        gradient[n_dimensions] = float(np.vdot(weight, kernel))
        gradient[n_dimensions + 1] = noise * float(np.trace(weight))
        return (value, gradient + z / self._sd) if np.isfinite(value) else (float("inf"), np.zeros_like(theta))


def fit_theta(features: Array, y: Array, group: NDArray[np.intp], starts: Sequence[Array]) -> Array:
    """Hyper-parameters at the best local maximum of the posterior that is reached from ``starts``.

    Args:
        features: (n, p), the dimensions of each column in ``group`` (p,).
        y: (n,), standardised.
        starts: thetas of shape (d + 2,), see :func:`default_theta`.
    """
    n_dimensions = int(group.max(initial=-1)) + 1
    limits = [_BOUNDS["length"]] * n_dimensions + [_BOUNDS["signal"], _BOUNDS["noise"]]
    low, high = np.log(np.array(limits)).T
    objective = MarginalLikelihood(features, y, group)
    found = [
        minimize_in_box(objective, start, low, high, max_iterations=30, gradient_tolerance=1e-2, value_tolerance=1e-5)
        for start in starts
    ]
    return min(found, key=lambda pair: pair[1])[0]


class Posterior:
    """The latent function given finished trials and, for the variance only, the places of pending ones.

    A pending trial counts as observed at its own posterior mean (the "kriging believer" of Ginsbourger, Le
    Riche and Carraro, "Kriging is well-suited to parallelize optimization", 2010). Such an
    observation leaves the mean as it is and takes the uncertainty away, so one factorisation serves both.

    Args:
        features: (n, p) of the finished trials; y: (n,) their standardised scores; pending: (m, p), m may be
        0.
    """

    def __init__(self, features: Array, y: Array, pending: Array, group: NDArray[np.intp], theta: Array) -> None:
        n_dimensions = len(theta) - 2
        lengths = np.exp(theta[:n_dimensions])[group]
        self._signal, noise = (float(v) for v in np.exp(theta[n_dimensions:]))
        self._inverse_lengths = 1.0 / lengths
        self._n = len(features)
        self._x = np.concatenate([features, pending]) * self._inverse_lengths
        kernel = self._kernel(self._x)
        factor = robust_cholesky(kernel + noise * np.eye(len(kernel)))
        # The inverse of the factor turns every later solve into one matrix product.
        self._inverse_factor = np.tril(np.linalg.inv(factor))
        head = self._inverse_factor[: self._n, : self._n]
        self._alpha = head.T @ (head @ y)
        self.mean_at_data = kernel[: self._n, : self._n] @ self._alpha
        """Posterior mean at the finished trials, (n,)."""

    def _distances(self, scaled: Array) -> Array:
        squares = (scaled**2).sum(1)[:, None] + (self._x**2).sum(1)[None, :] - 2 * scaled @ self._x.T
        return np.asarray(np.sqrt(np.maximum(squares, 0.0)))

    def _kernel(self, scaled: Array) -> Array:
        return self._signal * _matern(self._distances(scaled))

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the latent function at (m, p) features, each (m,)."""
        kernel = self._kernel(features * self._inverse_lengths)
        mean = kernel[:, : self._n] @ self._alpha
        reduced = self._inverse_factor @ kernel.T
        variance = self._signal - np.einsum("ij,ij->j", reduced, reduced)
        return mean, np.sqrt(np.maximum(variance, 1e-12 * self._signal))

    def predict_with_gradient(self, feature: Array) -> tuple[float, float, Array, Array]:
        """Mean and standard deviation at one point (p,), and their gradients (p,)."""
        scaled = feature * self._inverse_lengths
        r = self._distances(scaled[None, :])[0]
        kernel = self._signal * _matern(r)
        slopes = -self._signal * _matern_slope(r)[:, None] * (scaled - self._x) * self._inverse_lengths
        solved = self._inverse_factor.T @ (self._inverse_factor @ kernel)
        mean = float(kernel[: self._n] @ self._alpha)
        variance = self._signal - float(kernel @ solved)
        sd = max(variance, 1e-12 * self._signal) ** 0.5
        return mean, sd, slopes[: self._n].T @ self._alpha, -(slopes.T @ solved) / sd

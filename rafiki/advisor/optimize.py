"""A small quasi-Newton minimiser in a box.

``scipy.optimize`` has better ones, at 50 MB and a third of a second of import in a process that solves
problems of ten variables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Objective: TypeAlias = Callable[[Array], tuple[float, Array]]
"""A point (n,) to the value and the gradient (n,) there; the value may be inf where there is none."""

_ARMIJO = 1e-4
_MAX_HALVINGS = 12


def minimize_in_box(
    objective: Objective,
    start: Array,
    low: Array,
    high: Array,
    *,
    max_iterations: int = 50,
    max_step: float = 1.0,
    gradient_tolerance: float = 1e-4,
    value_tolerance: float = 1e-9,
) -> tuple[Array, float]:
    """A local minimum of ``objective`` with ``low <= x <= high``, and the value there; never worse than ``start``.

    BFGS with an inverse Hessian (Nocedal and Wright, Numerical Optimization, 2nd ed., section 6.1) on the
    variables that are free, and a backtracking search along the projected path (Bertsekas, "Projected Newton
    methods for optimization problems with simple constraints", 1982). All arrays have shape (n,).
    """
    x = np.clip(start, low, high)
    value, gradient = objective(x)
    inverse = np.eye(len(x))
    is_fresh = True
    for _ in range(max_iterations):
        free = ~(((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0)))
        reduced = np.where(free, gradient, 0.0)
        if not np.isfinite(value) or float(np.abs(reduced).max(initial=0.0)) < gradient_tolerance:
            break
        step = np.where(free, -(inverse @ reduced), 0.0)
        if float(step @ reduced) > -1e-12 * float(reduced @ reduced):
            inverse, is_fresh = np.eye(len(x)), True
            step = -reduced
        longest = float(np.abs(step).max())
        step *= min(1.0, (0.3 if is_fresh else 1.0) * max_step / longest)
        found = _backtrack(objective, x, value, gradient, step, low, high)
        if found is None:
            if is_fresh:
                break
            inverse, is_fresh = np.eye(len(x)), True
            continue
        new_x, new_value, new_gradient = found
        moved, bent = new_x - x, new_gradient - gradient
        curvature = float(moved @ bent)
        if curvature > 1e-10 * float(np.linalg.norm(moved)) * float(np.linalg.norm(bent)):
            if is_fresh:
                inverse = np.eye(len(x)) * (curvature / float(bent @ bent))
            left = np.eye(len(x)) - np.outer(moved, bent) / curvature
            inverse = left @ inverse @ left.T + np.outer(moved, moved) / curvature
            is_fresh = False
        gain = value - new_value
        x, value, gradient = new_x, new_value, new_gradient
        if gain < value_tolerance * max(1.0, abs(value)):
            break
    return x, value


def _backtrack(
    objective: Objective, x: Array, value: float, gradient: Array, step: Array, low: Array, high: Array
) -> tuple[Array, float, Array] | None:
    """The first point on the projected path, halving ``step``, that decreases enough; None without one."""
    for _ in range(_MAX_HALVINGS):
        candidate = np.clip(x + step, low, high)
        new_value, new_gradient = objective(candidate)
        if new_value <= value + _ARMIJO * float(gradient @ (candidate - x)) and new_value < value:
            return candidate, new_value, new_gradient
        step = step * 0.5
    return None

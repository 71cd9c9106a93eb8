"""Bayesian optimisation: a Gaussian process over the unit cube and log expected improvement."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rafiki.advisor.acquisition import LogExpectedImprovement, Maximiser
from rafiki.advisor.base import Advisor, Proposal, TrialRecord
from rafiki.advisor.encoding import Encoding
from rafiki.advisor.gp import Posterior, default_theta, fit_theta
from rafiki.advisor.space import Key, SearchSpace, draw_unseen
from rafiki.model.knobs import KnobConfig, Knobs

Array: TypeAlias = NDArray[np.float64]

_ENUMERATED = 2000
"""A space of at most so many points is searched whole instead of by sampling."""
_MAX_FIT, _MAX_DATA = 250, 500
"""Trials that hyper-parameters are fitted to and that the posterior holds; both cost the cube of the number."""
_N_DESIGNS = 20
_MIN_FIT = 3
_N_INCUMBENTS = 5
_LOWER_KNEE, _UPPER_KNEE = 1.0, 3.0
"""Where the compression of tails begins, in standard deviations from the median."""


def final_trial_count(trial_limit: int | None) -> int:
    """How many of the last trials retrain the best knobs in full: a tenth, at least one of five or more."""
    if trial_limit is None or trial_limit < 5:
        return 0
    return max(1, trial_limit // 10)


class BayesAdvisor(Advisor):
    """Space-filling trials, then those of highest expected improvement, then full trainings of the best.

    Pending trials count as observed where the model expects them; failed ones as observed at the worst score,
    so that the search keeps away from them. Points do not repeat while a finite space holds unseen ones.

    The policy ``EARLY_STOP`` is on while searching. When the number of trials is known, the last tenth of
    them trains the best distinct knobs again with it off; the surrogate never sees those scores, because an
    early-stopped and a full training of the same knobs are two functions.

    Args:
        trial_limit: the number of trials of this search, None when only time ends it.
    """

    scheme = "bayes"

    def __init__(self, knob_config: KnobConfig, seed: int, trial_limit: int | None = None) -> None:
        super().__init__(knob_config, seed)
        self._space = SearchSpace(knob_config)
        self._encoding = Encoding(self._space)
        self._early_stop = self._space.policy_knobs("EARLY_STOP")
        finals = final_trial_count(trial_limit) if self._early_stop else 0
        self._first_final = None if trial_limit is None or not finals else trial_limit - finals + 1
        d = self._encoding.n_dimensions
        self._n_initial = max(4, min(10, 2 * d))
        if trial_limit is not None:
            # A short search keeps two thirds of its trials for what it learnt.
            self._n_initial = min(self._n_initial, max(2, (trial_limit - finals) // 3))
        self._design = self._initial_design()
        self._theta = default_theta(d)
        self._next_fit = max(_MIN_FIT, self._n_initial)

    # ---- phases --------------------------------------------------------------------------------------------

    def _suggest(self, no: int) -> Proposal:
        is_final = self._first_final is not None and no >= self._first_final
        if is_final and (best := self._best_to_retrain()) is not None:
            return self._proposal(self._with_policies(best, is_search=False), "final")
        key, phase = self._search(no)
        return self._proposal(self._with_policies(key, is_search=not is_final), phase)

    def _with_policies(self, key: Key, is_search: bool) -> Knobs:
        """Knobs at ``key`` with the policies of this phase."""
        return self._space.knobs(key) | dict.fromkeys(self._early_stop, is_search)

    def _is_retraining(self, trial: TrialRecord) -> bool:
        return bool(self._early_stop) and not any(trial.knobs[name] for name in self._early_stop)

    def _best_to_retrain(self) -> Key | None:
        """The best-scored point that no final training has taken yet."""
        taken = {self._space.key(t.knobs) for t in self._trials.values() if self._is_retraining(t)}
        ranked = sorted(
            (-t.score, t.no, self._space.key(t.knobs))
            for t in self._trials.values()
            if t.score is not None and not self._is_retraining(t)
        )
        return next((key for _, _, key in ranked if key not in taken), None)

    def _search(self, no: int) -> tuple[Key, str]:
        seen = {self._space.key(trial.knobs) for trial in self._trials.values()}
        if no <= self._n_initial:
            key = self._space.from_unit(self._design[no - 1])
            return (draw_unseen(self._space, self._rng(no), seen) if key in seen else key), "initial"
        found = self._most_promising(no) if self._space.dimensions else None
        if found is None:
            return draw_unseen(self._space, self._rng(no), seen), "random"
        key = self._space.from_unit([float(u) for u in found])
        return key, "search"

    # ---- initial design ------------------------------------------------------------------------------------

    def _initial_design(self) -> list[list[float]]:
        """Of several Latin hypercubes the one whose points lie farthest apart (Morris and Mitchell,
        "Exploratory designs for computational experiments", 1995), as rows of coordinates.
        """
        rng = self._numpy_rng("design")
        n, d = self._n_initial, self._encoding.n_dimensions
        if not d:
            return [[]] * n
        cells = rng.permuted(np.tile(np.arange(n)[None, :, None], (_N_DESIGNS, 1, d)), axis=1)
        designs = (cells + rng.random((_N_DESIGNS, n, d))) / n
        gaps = ((designs[:, :, None, :] - designs[:, None, :, :]) ** 2).sum(-1) + 1e9 * np.eye(n)
        return [[float(u) for u in row] for row in designs[int(gaps.min(axis=(1, 2)).argmax())]]

    def _numpy_rng(self, purpose: int | str) -> np.random.Generator:
        return np.random.default_rng(self._rng(purpose).getrandbits(128))

    # ---- search --------------------------------------------------------------------------------------------

    def _most_promising(self, no: int) -> Array | None:
        """Coordinates (d,) of the unseen point with the highest acquisition value, None without one."""
        trials = self._surrogate_trials()
        finished = [self._trials[n] for n in self._finished if n in trials]
        self._fit(finished)
        pending = [t for t in trials.values() if t.state == "pending"]
        unit, y = self._unit(finished), standardise([t.score for t in finished])
        kept = informative(y, _MAX_DATA)
        unit, y = unit[kept], y[kept]
        waiting = self._unit(pending)
        encoding = self._encoding
        posterior = Posterior(encoding.features(unit), y, encoding.features(waiting), encoding.group, self._theta)
        # The best posterior mean rather than the best score, which may owe its rank to noise.
        best = float(posterior.mean_at_data.max()) if len(y) else 0.0
        acquisition = LogExpectedImprovement(posterior, best)
        maximiser = Maximiser(encoding, acquisition, self._unit(list(self._trials.values())))
        if self._space.size is not None and self._space.size <= _ENUMERATED:
            points = encoding.snap(np.array([self._space.to_unit(key) for key in self._space.points()]))
            found = maximiser.best_of(points)
            return found if found is not None else Maximiser(encoding, acquisition, waiting).best_of(points)
        incumbents = unit[np.argsort(-y, kind="stable")[:_N_INCUMBENTS]]
        return maximiser.search(self._numpy_rng(no), incumbents)

    def _surrogate_trials(self) -> dict[int, TrialRecord]:
        """The trials that the surrogate is about: all but full trainings of points searched before."""
        searched = {self._space.key(t.knobs) for t in self._trials.values() if not self._is_retraining(t)}
        return {
            no: t
            for no, t in self._trials.items()
            if not (self._is_retraining(t) and self._space.key(t.knobs) in searched)
        }

    def _unit(self, trials: list[TrialRecord]) -> Array:
        """Snapped coordinates (n, d)."""
        rows = [self._space.to_unit(self._space.key(t.knobs)) for t in trials]
        return self._encoding.snap(np.array(rows).reshape(len(rows), self._encoding.n_dimensions))

    def _fit(self, finished: list[TrialRecord]) -> None:
        """Hyper-parameters anew whenever the data grew by a fifth, from the last ones and the defaults.

        The sizes at which it happens are fixed, so a restored advisor walks the same chain of fits.
        """
        while self._next_fit <= len(finished):
            part = finished[: self._next_fit]
            y = standardise([t.score for t in part])
            if np.ptp(y) > 0:
                kept = informative(y, _MAX_FIT)
                features = self._encoding.features(self._unit([part[i] for i in kept]))
                default = default_theta(self._encoding.n_dimensions)
                starts = [self._theta] if np.array_equal(self._theta, default) else [self._theta, default]
                self._theta = fit_theta(features, y[kept], self._encoding.group, starts)
            self._next_fit += max(1, self._next_fit // 5)


def informative(y: Array, limit: int) -> NDArray[np.intp]:
    """Which of the values (n,) a surrogate of ``limit`` places keeps: the best half, the others spread evenly."""
    if len(y) <= limit:
        return np.arange(len(y))
    order = np.argsort(-y, kind="stable")
    others = np.sort(order[limit // 2 :])
    spread = others[np.linspace(0, len(others) - 1, limit - limit // 2).astype(np.intp)]
    return np.sort(np.concatenate([order[: limit // 2], spread]))


def standardise(scores: list[float | None]) -> Array:
    """Scores (higher is better, None for a failure) to values of mean 0 and variance 1; zeros when all are equal.

    The scale is that of the middle half of the scores. Beyond it, tails are compressed by a logarithm, more
    so below the median: one diverged training must not flatten the differences between good ones, and ranks
    are kept. Failed trials take the worst value.
    """
    raw = np.array([s for s in scores if s is not None], dtype=np.float64)
    failed = np.array([s is None for s in scores], dtype=bool)
    out = np.zeros(len(scores))
    if not len(raw):
        return out
    # Divided first: the squares of scores near the largest float overflow.
    raw = raw / max(float(np.abs(raw).max()), 1e-300)
    low, middle, high = np.quantile(raw, [0.25, 0.5, 0.75])
    scale = float(high - low) / 1.349 or float(raw.std())
    # Differences in the last bits are rounding, not a landscape.
    z = (raw - middle) / scale if np.ptp(raw) > 1e-12 else np.zeros(len(raw))
    z = np.where(z < -_LOWER_KNEE, -_LOWER_KNEE - np.log1p(np.maximum(-z - _LOWER_KNEE, 0)), z)
    z = np.where(z > _UPPER_KNEE, _UPPER_KNEE + np.log1p(np.maximum(z - _UPPER_KNEE, 0)), z)
    out[~failed] = z
    if failed.any():
        out[failed] = min(float(z.min()), -1.0)
    spread = float(out.std())
    return np.asarray((out - out.mean()) / spread) if spread > 1e-12 else np.zeros(len(out))

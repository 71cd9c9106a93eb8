import numpy as np
import pytest

from rafiki.advisor.acquisition import LogExpectedImprovement
from rafiki.advisor.encoding import Encoding
from rafiki.advisor.gp import Posterior, default_theta
from rafiki.advisor.halton import scrambled_halton
from rafiki.advisor.maximiser import Maximiser
from rafiki.advisor.space import SearchSpace
from rafiki.advisor.surrogate import Surrogate
from rafiki.advisor.trust_region import TrustRegion
from rafiki.model.knobs import CategoricalKnob, FloatKnob, IntegerKnob

CONFIG = {"x": FloatKnob(0, 1), "n": IntegerKnob(1, 20), "c": CategoricalKnob(["a", "b"]), "y": FloatKnob(0, 1)}


def problem(n=20, seed=0):
    encoding = Encoding(SearchSpace(CONFIG))
    unit = encoding.snap(np.random.default_rng(seed).random((n, 4)))
    y = -((unit[:, 0] - 0.7) ** 2) - unit[:, 1] - (unit[:, 3] - 0.2) ** 2
    y = (y - y.mean()) / y.std()
    features = encoding.features(unit)
    posterior = Posterior(features, y, np.empty((0, features.shape[1])), encoding.group, default_theta(4))
    return encoding, unit, y, LogExpectedImprovement(posterior, float(y.max()))


def test_what_is_found_beats_random_points_and_was_not_tried_before():
    encoding, unit, y, acquisition = problem()
    maximiser = Maximiser(encoding, acquisition, encoding.features, unit)
    found = maximiser.search(np.random.default_rng(1), unit[np.argsort(-y)[:3]])
    drawn = encoding.snap(np.random.default_rng(2).random((3000, 4)))
    assert acquisition(encoding.features(found[None]))[0] >= acquisition(encoding.features(drawn)).max()
    assert np.abs(unit - found).max(axis=1).min() > 0
    assert found == pytest.approx(encoding.snap(found[None])[0])


def test_constraints_hold_for_what_is_found():
    encoding, unit, y, acquisition = problem()
    maximiser = Maximiser(encoding, acquisition, encoding.features, unit, lambda u: u[0] + u[3] < 0.5)
    found = maximiser.search(np.random.default_rng(1), unit[np.argsort(-y)[:3]])
    assert found[0] + found[3] < 0.5
    nowhere = Maximiser(encoding, acquisition, encoding.features, unit, lambda u: False)
    assert nowhere.search(np.random.default_rng(1), unit[:3]) is None
    assert nowhere.best_of(unit) is None


def test_a_search_in_a_trust_region_stays_in_it():
    encoding, unit, y, acquisition = problem()
    region = TrustRegion(4)
    for _ in range(9):
        region.learn(0.0)
    box = region.box(unit[int(y.argmin())], np.ones(4))
    found = Maximiser(encoding, acquisition, encoding.features, unit).search(
        np.random.default_rng(1), unit[np.argsort(-y)[:3]], box=box
    )
    slack = np.maximum(encoding.bin_width / 2, 1e-9)
    assert (found >= box.low - slack).all()
    assert (found <= box.high + slack).all()
    assert (box.high - box.low).max() < 1


def test_the_trust_region_grows_with_success_shrinks_with_failure_and_begins_anew():
    region = TrustRegion(3)
    first = region.length
    for _ in range(9):
        region.observe(0.5)
    assert not region.is_narrowed
    for score in (1.0, 2.0, 3.0):
        region.learn(score)
    assert region.length == 2 * first
    for score in (2.0, None, 3.0, 3.0001):
        region.learn(score)
    assert region.length == first
    lengths = set()
    for _ in range(100):
        region.learn(None)
        lengths.add(region.length)
    assert region.is_narrowed or region.length == first
    assert min(lengths) > 0.005
    assert max(lengths) == first


def test_quasi_random_points_put_one_point_into_each_part_of_each_dimension():
    points = scrambled_halton(6**2, 3, np.random.default_rng(4))
    assert points.shape == (36, 3)
    assert sorted(np.floor(points[:32, 0] * 32)) == list(range(32))
    assert sorted(np.floor(points[:27, 1] * 27)) == list(range(27))
    assert sorted(np.floor(points[:25, 2] * 25)) == list(range(25))
    # Any two dimensions together: each cell of a 2 by 3 grid gets its sixth of 36 points.
    cells = np.floor(points[:, 0] * 2) * 3 + np.floor(points[:, 1] * 3)
    assert np.bincount(cells.astype(int)).tolist() == [6] * 6
    assert not np.array_equal(points, scrambled_halton(36, 3, np.random.default_rng(5)))


def test_the_surrogate_holds_no_more_than_so_many_trials():
    encoding = Encoding(SearchSpace(CONFIG))
    unit = encoding.snap(np.random.default_rng(0).random((1500, 4)))
    scores = list(unit[:, 0])
    surrogate = Surrogate(encoding, 8, unit, scores)
    _, rows, y = surrogate.condition(unit, scores, unit[:5])
    assert len(rows) == len(y) <= 500
    best = unit[int(np.argmax(unit[:, 0]))]
    assert (rows == best).all(axis=1).any()

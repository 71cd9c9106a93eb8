import numpy as np
import pytest

from rafiki.advisor.acquisition import LogExpectedImprovement, log_h
from rafiki.advisor.gp import MarginalLikelihood, Posterior, default_theta, fit_theta, robust_cholesky
from rafiki.advisor.optimize import minimize_in_box

GROUP = np.array([0, 1, 2, 2, 2])


def data(n=25, seed=0):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.random((n, 2)), np.sqrt(0.5) * np.eye(3)[rng.integers(3, size=n)]], axis=1)
    y = np.sin(6 * x[:, 0]) + x[:, 2] + 0.05 * rng.standard_normal(n)
    return x, (y - y.mean()) / y.std()


def numeric_gradient(f, x, step=1e-5):
    return np.array([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(len(x))])


def test_the_likelihood_s_gradient_is_its_slope():
    objective = MarginalLikelihood(*data(), GROUP)
    for seed in range(3):
        theta = default_theta(3) + np.random.default_rng(seed).normal(size=5)
        assert objective(theta)[1] == pytest.approx(
            numeric_gradient(lambda t: objective(t)[0], theta), rel=1e-4, abs=1e-4
        )


def test_the_fit_finds_which_dimension_matters_and_beats_its_starts():
    x, y = data(40)
    start = default_theta(3)
    theta = fit_theta(x, y, GROUP, [start])
    objective = MarginalLikelihood(x, y, GROUP)
    assert objective(theta)[0] < objective(start)[0] - 1
    assert theta[1] > theta[0] + 1, "the second dimension does nothing, so its length scale must be long"


def test_the_posterior_is_that_of_the_textbook():
    x, y = data()
    theta = default_theta(3)
    new = data(6, seed=9)[0]

    def kernel(a, b):
        lengths = np.exp(theta[:3])[GROUP]
        r = np.sqrt(5 * (((a[:, None] - b[None]) / lengths) ** 2).sum(-1))
        return np.exp(theta[3]) * (1 + r + r**2 / 3) * np.exp(-r)

    covariance = kernel(x, x) + np.exp(theta[4]) * np.eye(len(x))
    solved = np.linalg.solve(covariance, kernel(x, new))
    mean, sd = Posterior(x, y, np.empty((0, 5)), GROUP, theta).predict(new)
    assert mean == pytest.approx(solved.T @ y)
    assert sd**2 == pytest.approx(np.diag(kernel(new, new) - kernel(new, x) @ solved), abs=1e-9)


def test_a_pending_trial_takes_uncertainty_away_and_leaves_the_mean():
    x, y = data()
    pending = data(3, seed=5)[0]
    without = Posterior(x, y, np.empty((0, 5)), GROUP, default_theta(3))
    with_pending = Posterior(x, y, pending, GROUP, default_theta(3))
    assert with_pending.predict(pending)[0] == pytest.approx(without.predict(pending)[0])
    assert (with_pending.predict(pending)[1] < 0.2 * without.predict(pending)[1]).all()


def test_the_acquisition_s_gradient_is_its_slope():
    x, y = data()
    acquisition = LogExpectedImprovement(Posterior(x, y, x[:2] + 0.05, GROUP, default_theta(3)), 1.0)
    for row in data(5, seed=3)[0]:
        value, gradient = acquisition.with_gradient(row)
        assert value == pytest.approx(acquisition(row[None, :])[0])
        numeric = numeric_gradient(lambda f: acquisition(f[None, :])[0], row)
        assert gradient == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_log_expected_improvement_is_exact_where_the_plain_form_underflows():
    # h(z) = phi(z) / z^2 * E[s exp(-s^2 / 2z^2)] over s >= 0 with weight exp(-s), for negative z.
    nodes, weights = np.polynomial.laguerre.laggauss(60)
    z = np.array([-8.0, -20.0, -24.999, -25.001, -40.0, -1e3, -1e8])
    integral = (weights * nodes * np.exp(-(nodes**2) / (2 * z[:, None] ** 2))).sum(1)
    exact = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(-z) + np.log(integral)
    assert log_h(z)[0] == pytest.approx(exact, rel=1e-9)
    assert log_h(np.array([0.0, 50.0]))[0] == pytest.approx([-0.5 * np.log(2 * np.pi), np.log(50.0)])
    smooth = np.array([-60.0, -25.5, -24.5, -3.0, 0.0, 3.0])
    slopes = (log_h(smooth + 1e-5)[0] - log_h(smooth - 1e-5)[0]) / 2e-5
    assert log_h(smooth)[1] == pytest.approx(slopes, rel=1e-5)


def test_a_singular_kernel_gets_as_much_jitter_as_it_needs():
    ones = np.ones((30, 30))
    factor = robust_cholesky(ones)
    assert factor @ factor.T == pytest.approx(ones, abs=0.02)
    with pytest.raises(np.linalg.LinAlgError):
        robust_cholesky(-ones)


def test_the_minimiser_finds_a_minimum_inside_and_on_the_edge_of_its_box():
    def rosenbrock(x):
        a, b = x
        return float((1 - a) ** 2 + 100 * (b - a * a) ** 2), np.array(
            [-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)]
        )

    wide = np.full(2, 3.0)
    inside, value = minimize_in_box(rosenbrock, np.array([-1.2, 1.0]), -wide, wide, max_iterations=200)
    assert inside == pytest.approx([1, 1], abs=1e-2)
    assert value < 1e-4
    edge, _ = minimize_in_box(rosenbrock, np.array([-1.0, 1.0]), -wide, np.array([0.5, 3.0]), max_iterations=200)
    assert edge == pytest.approx([0.5, 0.25], abs=1e-3)

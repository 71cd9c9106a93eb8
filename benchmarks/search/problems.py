"""Real tuning problems: scikit-learn and LightGBM models on data that comes with scikit-learn or with this repository.

Each is deterministic (fixed splits and seeds) and costs a few milliseconds. Scores are means over the folds of a
cross-validation; higher is better.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC

from benchmarks.bench_stack import REPO
from rafiki.model.knobs import CategoricalKnob, FloatKnob, IntegerKnob, KnobConfig

_FOLDS = 3
_SCALERS = {"standard": StandardScaler, "range": MinMaxScaler, "length": Normalizer}


class Data(NamedTuple):
    x: NDArray[np.float64]
    y: NDArray[Any]


class Problem(NamedTuple):
    """One search space and what is to be maximised over it."""

    name: str
    knobs: KnobConfig
    load: Callable[[], Data]
    build: Callable[..., BaseEstimator]
    """Knobs to an unfitted model."""
    metric: str
    """``accuracy``, ``log_loss`` (negated) or ``r2``."""
    is_held_out: bool
    """Whether no choice in our scheme was made by looking at this problem."""

    def evaluate(self, knobs: dict[str, Any]) -> float | None:
        """The mean score over the folds; None when the model cannot be trained with these knobs."""
        data = self.load()
        is_regression = self.metric == "r2"
        folds = (KFold if is_regression else StratifiedKFold)(_FOLDS, shuffle=True, random_state=0)
        scores = []
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for train, test in folds.split(data.x, data.y):
                try:
                    model = self.build(**knobs).fit(data.x[train], data.y[train])
                    scores.append(_score(self.metric, model, data.x[test], data.y[test]))
                except (ValueError, np.linalg.LinAlgError):
                    return None
        mean = float(np.mean(scores))
        return mean if np.isfinite(mean) else None


def _score(metric: str, model: Any, x: NDArray[np.float64], y: NDArray[Any]) -> float:
    if metric == "log_loss":
        return -float(log_loss(y, model.predict_proba(x), labels=model.classes_))
    predicted = model.predict(x)
    return float(r2_score(y, predicted) if metric == "r2" else accuracy_score(y, predicted))


# ---- data


def _subset(x: NDArray[Any], y: NDArray[Any], n: int) -> Data:
    rows = np.random.default_rng(0).permutation(len(x))[:n]
    return Data(np.asarray(x[rows], dtype=np.float64), np.asarray(y[rows]))


@cache
def _digits() -> Data:
    x, y = load_digits(return_X_y=True)
    return _subset(x / 16.0, y, 400)


@cache
def _diabetes() -> Data:
    x, y = load_diabetes(return_X_y=True)
    return _subset(StandardScaler().fit_transform(x), (y - y.mean()) / y.std(), len(x))


@cache
def _concrete() -> Data:
    with (REPO / "examples" / "data" / "concrete.csv").open() as f:
        rows = np.array([[float(v) for v in row] for row in list(csv.reader(f))[1:]])
    y = rows[:, -1]
    return _subset(StandardScaler().fit_transform(rows[:, :-1]), (y - y.mean()) / y.std(), 500)


@cache
def _titanic() -> Data:
    with (REPO / "examples" / "data" / "titanic.csv").open() as f:
        rows = list(csv.DictReader(f))
    ages = np.array([float(r["age"] or "nan") for r in rows])
    ages[np.isnan(ages)] = np.nanmedian(ages)
    columns = [
        [{"1st": 1, "2nd": 2, "3rd": 3}[r["pclass"]] for r in rows], [r["sex"] == "male" for r in rows], ages,
        [float(r["sibsp"] or 0) for r in rows], [float(r["parch"] or 0) for r in rows],
    ]  # fmt: skip
    x = np.array(columns, dtype=np.float64).T
    return _subset(x, np.array([r["survived"] == "survived" for r in rows], dtype=int), 700)


# ---- models


def _svc(c: float, gamma: float) -> BaseEstimator:
    return SVC(C=c, gamma=gamma)


def _forest(
    depth: int, min_leaf: int, min_split: int, max_features: float, criterion: str, balanced: bool
) -> BaseEstimator:
    return RandomForestClassifier(
        n_estimators=6, max_depth=depth, min_samples_leaf=min_leaf, min_samples_split=min_split, criterion=criterion,
        max_features=max_features, class_weight="balanced" if balanced else None, random_state=0,
    )  # fmt: skip


def _boosting(kind: str, **knobs: Any) -> BaseEstimator:
    # Imported late: only two of the problems need it.
    from lightgbm import LGBMClassifier, LGBMRegressor

    model = LGBMRegressor if kind == "regressor" else LGBMClassifier
    return model(
        **knobs, subsample_freq=1, n_jobs=1, random_state=0, verbose=-1, deterministic=True, force_row_wise=True
    )


def _boosting_regressor(**knobs: Any) -> BaseEstimator:
    return _boosting("regressor", **knobs)


def _boosting_classifier(**knobs: Any) -> BaseEstimator:
    return _boosting("classifier", **knobs)


def _mlp_digits(
    units: int, rate: float, alpha: float, batch: int, activation: str, epochs: int, beta: float, scaler: str
) -> BaseEstimator:
    model = MLPClassifier(
        hidden_layer_sizes=(units,), learning_rate_init=rate, alpha=alpha, batch_size=batch, activation=activation,
        max_iter=epochs, beta_1=beta, random_state=0,
    )  # fmt: skip
    return make_pipeline(_SCALERS[scaler](), model)


def _mlp_concrete(
    units: int, second: int, rate: float, alpha: float, batch: int, activation: str, solver: str, epochs: int,
    momentum: float, beta: float,
) -> BaseEstimator:  # fmt: skip
    return MLPRegressor(
        hidden_layer_sizes=(units, second), learning_rate_init=rate, alpha=alpha, batch_size=batch,
        activation=activation, solver=solver, max_iter=epochs, momentum=momentum, beta_1=beta, random_state=0,
    )  # fmt: skip


def _kernel_ridge(alpha: float, gamma: float, kernel: str, degree: int, coef0: float) -> BaseEstimator:
    return KernelRidge(alpha=alpha, gamma=gamma, kernel=kernel, degree=degree, coef0=coef0)


def _sgd(
    loss: str, penalty: str, alpha: float, l1_ratio: float, schedule: str, eta0: float, epochs: int
) -> BaseEstimator:
    return SGDClassifier(
        loss=loss, penalty=penalty, alpha=alpha, l1_ratio=l1_ratio, learning_rate=schedule, eta0=eta0, max_iter=epochs,
        tol=None, random_state=0,
    )  # fmt: skip


_BOOSTING: KnobConfig = {
    "learning_rate": FloatKnob(0.005, 0.5, is_exp=True),
    "n_estimators": IntegerKnob(5, 60, is_exp=True),
    "num_leaves": IntegerKnob(2, 64, is_exp=True),
    "min_child_samples": IntegerKnob(1, 60, is_exp=True),
    "subsample": FloatKnob(0.3, 1.0),
    "colsample_bytree": FloatKnob(0.3, 1.0),
    "reg_alpha": FloatKnob(1e-4, 10, is_exp=True),
    "reg_lambda": FloatKnob(1e-4, 10, is_exp=True),
}

PROBLEMS: tuple[Problem, ...] = (
    Problem(
        "svm_digits", {"c": FloatKnob(1e-3, 1e3, is_exp=True), "gamma": FloatKnob(1e-5, 10, is_exp=True)},
        _digits, _svc, "accuracy", is_held_out=False,
    ),
    Problem(
        "forest_titanic",
        {
            "depth": IntegerKnob(1, 20),
            "min_leaf": IntegerKnob(1, 60, is_exp=True),
            "min_split": IntegerKnob(2, 100, is_exp=True),
            "max_features": FloatKnob(0.1, 1.0),
            "criterion": CategoricalKnob(["gini", "entropy", "log_loss"]),
            "balanced": CategoricalKnob([False, True]),
        },
        _titanic, _forest, "log_loss", is_held_out=False,
    ),
    Problem("boosting_concrete", _BOOSTING, _concrete, _boosting_regressor, "r2", is_held_out=False),
    Problem(
        "mlp_digits",
        {
            "units": IntegerKnob(4, 64, is_exp=True),
            "rate": FloatKnob(1e-5, 0.3, is_exp=True),
            "alpha": FloatKnob(1e-6, 10, is_exp=True),
            "batch": IntegerKnob(32, 200, is_exp=True),
            "activation": CategoricalKnob(["relu", "tanh", "logistic", "identity"]),
            "epochs": IntegerKnob(2, 8),
            "beta": FloatKnob(0.5, 0.99),
            "scaler": CategoricalKnob(["standard", "range", "length"]),
        },
        _digits, _mlp_digits, "accuracy", is_held_out=False,
    ),
    Problem(
        "ridge_diabetes",
        {
            "alpha": FloatKnob(1e-4, 1e4, is_exp=True),
            "gamma": FloatKnob(1e-5, 10, is_exp=True),
            "kernel": CategoricalKnob(["rbf", "laplacian", "polynomial", "sigmoid"]),
            "degree": IntegerKnob(1, 4),
            "coef0": FloatKnob(0, 3),
        },
        _diabetes, _kernel_ridge, "r2", is_held_out=True,
    ),
    Problem("boosting_titanic", _BOOSTING, _titanic, _boosting_classifier, "accuracy", is_held_out=True),
    Problem(
        "sgd_digits",
        {
            "loss": CategoricalKnob(["hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron"]),
            "penalty": CategoricalKnob(["l2", "l1", "elasticnet"]),
            "alpha": FloatKnob(1e-7, 1, is_exp=True),
            "l1_ratio": FloatKnob(0, 1),
            "schedule": CategoricalKnob(["optimal", "constant", "invscaling", "adaptive"]),
            "eta0": FloatKnob(1e-5, 10, is_exp=True),
            "epochs": IntegerKnob(1, 10),
        },
        _digits, _sgd, "accuracy", is_held_out=True,
    ),
    Problem(
        "mlp_concrete",
        {
            "units": IntegerKnob(4, 64, is_exp=True),
            "second": IntegerKnob(2, 32, is_exp=True),
            "rate": FloatKnob(1e-5, 0.3, is_exp=True),
            "alpha": FloatKnob(1e-6, 10, is_exp=True),
            "batch": IntegerKnob(32, 256, is_exp=True),
            "activation": CategoricalKnob(["relu", "tanh", "logistic"]),
            "solver": CategoricalKnob(["adam", "sgd"]),
            "epochs": IntegerKnob(2, 10),
            "momentum": FloatKnob(0, 0.99),
            "beta": FloatKnob(0.5, 0.99),
        },
        _concrete, _mlp_concrete, "r2", is_held_out=True,
    ),
)  # fmt: skip

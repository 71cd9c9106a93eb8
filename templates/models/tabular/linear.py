"""Linear models of a table: the yardstick that every other model should beat.

Numbers are scaled, missing ones take the median, and whether one was missing is a feature of its own; each category of
a text column is a feature of 0 and 1. scikit-learn fits; what is kept are plain arrays, so that serving needs numpy
alone.

Dependencies: scikit-learn.
"""

import json

import numpy as np

from rafiki.model import BaseModel, FloatKnob, utils


class _Linear(BaseModel):
    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs
        self._classes = []

    def train(self, dataset_path, shared_params=None, features=None, target=None, **train_args):
        dataset = utils.dataset.load_dataset_of_table(dataset_path, features, target)
        self._target = dataset.target
        self._encoder = utils.dataset.FeatureEncoder.fit(dataset)
        columns = self._encoder.one_hot(self._encoder.encode(dataset))
        self._median = np.zeros(columns.shape[1])
        some = ~np.isnan(columns).all(axis=0)
        self._median[some] = np.nanmedian(columns[:, some], axis=0)
        self._has_gaps = np.isnan(columns).any(axis=0)
        self._mean, self._scale = 0.0, 1.0
        columns = self._to_columns(columns)
        self._mean, self._scale = columns.mean(axis=0), columns.std(axis=0)
        self._scale[self._scale == 0] = 1
        self._fit((columns - self._mean) / self._scale, dataset)
        utils.logger.log(f"Fitted {columns.shape[1]} columns of {len(self._encoder.features)} features.")

    def _to_columns(self, one_hot):
        gaps = np.isnan(one_hot)
        columns = np.concatenate([np.where(gaps, self._median, one_hot), gaps[:, self._has_gaps]], axis=1)
        return (columns - self._mean) / self._scale

    def _margins(self, encoded):
        return self._to_columns(self._encoder.one_hot(encoded)) @ self._weights + self._intercept

    def _load(self, dataset_path):
        dataset = utils.dataset.load_dataset_of_table(dataset_path, self._encoder.features, self._target)
        return dataset, self._margins(self._encoder.encode(dataset))

    def dump_parameters(self):
        return {
            "encoder": self._encoder.to_json(),
            "target": self._target,
            "classes": json.dumps(self._classes),
            "median": self._median,
            "has_gaps": self._has_gaps,
            "mean": self._mean,
            "scale": self._scale,
            "weights": self._weights,
            "intercept": self._intercept,
        }

    def load_parameters(self, params):
        self._encoder = utils.dataset.FeatureEncoder.from_json(params["encoder"])
        self._target = params["target"]
        self._classes = json.loads(params["classes"])
        self._median = params["median"]
        self._has_gaps = params["has_gaps"]
        self._mean = params["mean"]
        self._scale = params["scale"]
        self._weights = params["weights"]
        self._intercept = params["intercept"]


class LogisticClassifier(_Linear):
    """TABULAR_CLASSIFICATION. One probability a class: numbers by size, then texts by alphabet."""

    @staticmethod
    def get_knob_config():
        return {"C": FloatKnob(1e-3, 1e2, is_exp=True)}

    def _fit(self, columns, dataset):
        # Imported here and not above, so that a served model starts without it.
        from sklearn.linear_model import LogisticRegression

        self._classes = dataset.target_classes()
        model = LogisticRegression(C=self._knobs["C"], max_iter=500)
        model.fit(columns, dataset.target_class_indices(self._classes))
        # With two classes there is one column, the margin of the second.
        is_binary = len(self._classes) == 2
        self._weights = np.vstack([np.zeros_like(model.coef_), model.coef_]).T if is_binary else model.coef_.T
        self._intercept = np.append(0.0, model.intercept_) if is_binary else model.intercept_

    def evaluate(self, dataset_path):
        dataset, margins = self._load(dataset_path)
        return float(np.mean(margins.argmax(axis=1) == dataset.target_class_indices(self._classes)))

    def predict(self, queries):
        margins = self._margins(self._encoder.encode_queries(queries))
        powers = np.exp(margins - margins.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).tolist()


class RidgeRegressor(_Linear):
    """TABULAR_REGRESSION. The score is R2, the share of the target's variance that is explained."""

    @staticmethod
    def get_knob_config():
        return {"alpha": FloatKnob(1e-3, 1e3, is_exp=True)}

    def _fit(self, columns, dataset):
        # Imported here and not above, so that a served model starts without it.
        from sklearn.linear_model import Ridge

        model = Ridge(alpha=self._knobs["alpha"])
        model.fit(columns, dataset.target_numbers())
        self._weights, self._intercept = model.coef_, float(model.intercept_)

    def evaluate(self, dataset_path):
        dataset, numbers = self._load(dataset_path)
        target = dataset.target_numbers()
        return float(1 - np.mean((target - numbers) ** 2) / max(target.var(), 1e-300))

    def predict(self, queries):
        return self._margins(self._encoder.encode_queries(queries)).tolist()

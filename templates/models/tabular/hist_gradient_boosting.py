"""Gradient boosting on histograms: the first model to try on a table.

Missing values and text categories need no care. scikit-learn grows the trees; what is kept are plain arrays, so that
serving needs numpy alone.

Dependencies: scikit-learn >= 1.4.
"""

import json
import os

import numpy as np

from rafiki.model import BaseModel, FloatKnob, IntegerKnob, utils

# Below so many rows, a thread more costs more than it saves.
ROWS_A_THREAD = 10_000


class _HistGradientBoosting(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "learning_rate": FloatKnob(0.02, 0.3, is_exp=True),
            "max_iter": IntegerKnob(50, 400, is_exp=True),
            "max_leaf_nodes": IntegerKnob(4, 48, is_exp=True),
            "min_samples_leaf": IntegerKnob(3, 40, is_exp=True),
            "l2_regularization": FloatKnob(1e-3, 10.0, is_exp=True),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs
        self._classes = []

    def train(self, dataset_path, shared_params=None, features=None, target=None, **train_args):
        # Imported here and not above, so that a served model starts without them; and before the limit on threads,
        # which holds for what is loaded already. threadpoolctl comes with scikit-learn.
        from sklearn import ensemble
        from threadpoolctl import threadpool_limits

        dataset = utils.dataset.load_dataset_of_table(dataset_path, features, target)
        self._target = dataset.target
        self._encoder = utils.dataset.FeatureEncoder.fit(dataset)
        columns = self._to_columns(self._encoder.encode(dataset))
        with threadpool_limits(max(1, min(os.cpu_count() or 1, len(dataset) // ROWS_A_THREAD)), user_api="openmp"):
            model = self._fit(ensemble, columns, dataset)
            raw = model.decision_function(columns[:200]) if self._classes else model.predict(columns[:200])
        self._take_over(model)
        # The trees are no public part of scikit-learn: should a version keep them otherwise, better to know it now.
        if not np.allclose(self._sums(columns[:200]), np.reshape(raw, (len(raw), -1)), rtol=1e-4, atol=1e-5):
            raise RuntimeError("This version of scikit-learn keeps its trees in a form that this template cannot read.")
        utils.logger.log(f"Grew {len(self._feature)} trees on {len(dataset)} rows.", trees=len(self._feature))

    def dump_parameters(self):
        return {
            "encoder": self._encoder.to_json(),
            "target": self._target,
            "classes": json.dumps(self._classes),
            "baseline": self._baseline,
            "depth": self._depth,
            "feature": self._feature,
            "threshold": self._threshold,
            "missing_left": self._missing_left,
            "left": self._left,
            "right": self._right,
            "value": self._value,
        }

    def load_parameters(self, params):
        self._encoder = utils.dataset.FeatureEncoder.from_json(params["encoder"])
        self._target = params["target"]
        self._classes = json.loads(params["classes"])
        self._baseline = params["baseline"]
        self._depth = params["depth"]
        self._feature = params["feature"]
        self._threshold = params["threshold"]
        self._missing_left = params["missing_left"]
        self._left = params["left"]
        self._right = params["right"]
        self._value = params["value"]

    def _to_columns(self, encoded):
        return self._encoder.one_hot(encoded)

    def _take_over(self, model):
        """Keeps the nodes of all trees, one row a tree; the trees of one iteration, one for each output, follow each
        other."""
        trees = [predictor.nodes for iteration in model._predictors for predictor in iteration]
        shape = (len(trees), max(map(len, trees)))
        self._baseline = np.ravel(model._baseline_prediction).astype(np.float64)
        self._feature = np.zeros(shape, np.int32)
        self._threshold = np.zeros(shape, np.float64)
        self._missing_left = np.zeros(shape, bool)
        self._left = np.zeros(shape, np.int32)
        self._right = np.zeros(shape, np.int32)
        self._value = np.zeros(shape, np.float64)
        for i, nodes in enumerate(trees):
            here, is_leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
            part = np.s_[i, : len(nodes)]
            self._feature[part] = np.where(is_leaf, 0, nodes["feature_idx"])
            self._threshold[part] = nodes["num_threshold"]
            self._missing_left[part] = nodes["missing_go_to_left"]
            # A leaf leads to itself: then all rows can walk down in step, whatever the depth of their leaves.
            self._left[part] = np.where(is_leaf, here, nodes["left"])
            self._right[part] = np.where(is_leaf, here, nodes["right"])
            self._value[part] = nodes["value"]
        self._depth = int(max(nodes["depth"].max() for nodes in trees))

    def _sums(self, columns):
        """The sum of the leaves that each row ends in. Shape: (rows, outputs)."""
        n_outputs = len(self._baseline)
        out = np.empty((len(columns), n_outputs))
        # In blocks: rows x trees numbers are held at a time.
        for start in range(0, len(columns), 256):
            block = columns[start : start + 256]
            rows, trees = np.arange(len(block))[:, None], np.arange(len(self._feature))
            node = np.zeros((len(block), len(trees)), np.int32)
            for _ in range(self._depth):
                values = block[rows, self._feature[trees, node]]
                goes_left = np.where(
                    np.isnan(values), self._missing_left[trees, node], values <= self._threshold[trees, node]
                )
                node = np.where(goes_left, self._left[trees, node], self._right[trees, node])
            leaves = self._value[trees, node].reshape(len(block), -1, n_outputs)
            out[start : start + 256] = self._baseline + leaves.sum(axis=1)
        return out

    def _load(self, dataset_path):
        dataset = utils.dataset.load_dataset_of_table(dataset_path, self._encoder.features, self._target)
        return dataset, self._sums(self._to_columns(self._encoder.encode(dataset)))


class HistGradientBoostingClassifier(_HistGradientBoosting):
    """TABULAR_CLASSIFICATION. One probability a class: numbers by size, then texts by alphabet."""

    def _fit(self, ensemble, columns, dataset):
        self._classes = dataset.target_classes()
        model = ensemble.HistGradientBoostingClassifier(**self._knobs, early_stopping=False, random_state=0)
        return model.fit(columns, dataset.target_class_indices(self._classes))

    def evaluate(self, dataset_path):
        dataset, sums = self._load(dataset_path)
        found = self._probabilities(sums).argmax(axis=1)
        return float(np.mean(found == dataset.target_class_indices(self._classes)))

    def predict(self, queries):
        return self._probabilities(self._sums(self._to_columns(self._encoder.encode_queries(queries)))).tolist()

    def _probabilities(self, sums):
        if sums.shape[1] == 1:
            # With two classes there is one output, the margin of the second.
            sums = np.concatenate([np.zeros_like(sums), sums], axis=1)
        powers = np.exp(sums - sums.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


class HistGradientBoostingRegressor(_HistGradientBoosting):
    """TABULAR_REGRESSION. The score is R2, the share of the target's variance that is explained."""

    def _fit(self, ensemble, columns, dataset):
        model = ensemble.HistGradientBoostingRegressor(**self._knobs, early_stopping=False, random_state=0)
        return model.fit(columns, dataset.target_numbers())

    def evaluate(self, dataset_path):
        dataset, sums = self._load(dataset_path)
        target = dataset.target_numbers()
        return float(1 - np.mean((target - sums[:, 0]) ** 2) / max(target.var(), 1e-300))

    def predict(self, queries):
        return self._sums(self._to_columns(self._encoder.encode_queries(queries)))[:, 0].tolist()

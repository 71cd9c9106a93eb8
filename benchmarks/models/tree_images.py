"""scikit-learn's decision tree on the pixels of images of 32x32x3: what the peers of benchmarks/serving serve too.

The parameters are the training data: loading grows the same tree again, so what is served is scikit-learn's own
predict_proba().
"""

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from rafiki.model import BaseModel, FixedKnob, utils


class TreeImages(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"max_depth": FixedKnob(16)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._max_depth = knobs["max_depth"]

    def train(self, dataset_path, shared_params=None, **train_args):
        self._grow(*_load(dataset_path))

    def _grow(self, features, classes):
        self._features, self._classes = features, classes
        self._model = DecisionTreeClassifier(max_depth=self._max_depth, random_state=0).fit(features, classes)

    def evaluate(self, dataset_path):
        return float(self._model.score(*_load(dataset_path)))

    def predict(self, queries):
        return list(self._model.predict_proba(np.array(queries, dtype=np.float32).reshape(len(queries), -1)))

    def dump_parameters(self):
        return {"features": self._features, "classes": self._classes}

    def load_parameters(self, params):
        self._grow(params["features"], params["classes"])


def _load(path):
    images, classes = zip(*utils.dataset.load_dataset_of_image_files(path, mode="RGB"), strict=True)
    return np.array(images, dtype=np.float32).reshape(len(images), -1), np.array(classes, dtype=np.int64)

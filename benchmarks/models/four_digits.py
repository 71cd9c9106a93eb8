"""Four scikit-learn classifiers of very different cost and errors on grey images of 8 x 8.

The parameters are the training data: loading fits the same model again, so what is served is scikit-learn's own
predict_proba().
"""

import numpy as np

from rafiki.model import BaseModel, FixedKnob, utils


def _grey(query):
    """A query comes with its colours, which are one."""
    image = np.asarray(query)
    return np.ravel(image[..., 0] if image.ndim == 3 else image)


class _Digits(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"seed": FixedKnob(0)}

    def make(self):
        raise NotImplementedError

    def train(self, dataset_path, shared_params=None, **train_args):
        self._fit(*self._read(dataset_path))

    def evaluate(self, dataset_path):
        features, classes = self._read(dataset_path)
        return float(self._model.score(features, classes))

    def predict(self, queries):
        return self._model.predict_proba(np.array([_grey(q) for q in queries], dtype=np.float32)).tolist()

    def dump_parameters(self):
        return {"features": self._features, "classes": self._classes}

    def load_parameters(self, params):
        self._fit(params["features"], params["classes"])

    def _read(self, path):
        data = utils.dataset.load_dataset_of_image_files(path, mode="L")
        images, classes = zip(*((np.ravel(image), label) for image, label in data), strict=True)
        return np.array(images, dtype=np.float32), np.array(classes)

    def _fit(self, features, classes):
        self._features, self._classes = features, classes
        self._model = self.make().fit(features, classes)


class Machines(_Digits):
    """Costly in each query, and the best alone."""

    def make(self):
        from sklearn.ensemble import BaggingClassifier
        from sklearn.svm import SVC

        return BaggingClassifier(SVC(), 120, max_samples=0.5, random_state=0)


class Trees(_Digits):
    """Costs nearly the same whatever a batch holds."""

    def make(self):
        from sklearn.ensemble import ExtraTreesClassifier

        return ExtraTreesClassifier(400, random_state=0)


class Neighbours(_Digits):
    def make(self):
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(9, algorithm="brute")


class Bayes(_Digits):
    def make(self):
        from sklearn.naive_bayes import GaussianNB

        return GaussianNB()

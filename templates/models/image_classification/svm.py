"""A support vector machine on pixels: accurate on small images, and no more than numpy to serve.

scikit-learn finds the support vectors. What is kept are plain arrays; prediction is written out below.
"""

import numpy as np

from rafiki.model import BaseModel, CategoricalKnob, FixedKnob, FloatKnob, utils

# Grey: colour rarely helps on small images. "RGB" works too.
MODE = "L"


class SkSvm(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "kernel": CategoricalKnob(["rbf", "linear"]),
            "C": FloatKnob(0.1, 100.0, is_exp=True),
            # Times 1 / number of pixels; for the rbf kernel only.
            "gamma": FloatKnob(0.1, 10.0, is_exp=True),
            "max_image_size": FixedKnob(32),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs

    def train(self, dataset_path, shared_params=None, **train_args):
        # Imported here and not above, so that a served model starts without it.
        from sklearn.svm import SVC

        dataset = utils.dataset.load_dataset_of_image_files(
            dataset_path, max_image_size=self._knobs["max_image_size"], mode=MODE
        )
        self._image_size = dataset.image_size
        self._n_classes = dataset.classes
        images, classes = zip(*dataset, strict=True)
        images = utils.dataset.transform_images(images, image_size=self._image_size, mode=MODE)
        images, self._mean, self._std = utils.dataset.normalize_images(images)
        features, classes = images.reshape(len(images), -1), np.array(classes)
        self._gamma = self._knobs["gamma"] / features.shape[1]

        def fit(part):
            svc = SVC(C=self._knobs["C"], kernel=self._knobs["kernel"], gamma=self._gamma)
            self._take_over(svc.fit(features[part], classes[part]))

        # Every fifth image is first held back, to learn how far the machine's margins are to be trusted.
        everything = np.arange(len(features))
        held_back = everything[::5]
        self._temperature = 1.0
        if len(set(classes[everything % 5 != 0])) > 1:
            fit(everything[everything % 5 != 0])
            # A class that occurs among the held-back images alone has no score.
            held_back = held_back[np.isin(classes[held_back], self._seen_classes)]
            columns = np.searchsorted(self._seen_classes, classes[held_back])
            self._temperature = _best_temperature(self._scores(features[held_back]), columns)
        fit(everything)
        utils.logger.log(
            f"Found {len(self._vectors)} support vectors among {len(features)} images.",
            support_vectors=len(self._vectors),
            temperature=self._temperature,
        )

    def evaluate(self, dataset_path):
        dataset = utils.dataset.load_dataset_of_image_files(
            dataset_path, min_image_size=self._image_size, max_image_size=self._image_size, mode=MODE
        )
        images, classes = zip(*dataset, strict=True)
        return float(np.mean(self._predict_probabilities(images).argmax(axis=1) == np.array(classes)))

    def predict(self, queries):
        return self._predict_probabilities(queries).tolist()

    def dump_parameters(self):
        return {
            "image_size": self._image_size,
            "n_classes": self._n_classes,
            "mean": self._mean,
            "std": self._std,
            "gamma": self._gamma,
            "temperature": self._temperature,
            "seen_classes": self._seen_classes,
            "vectors": self._vectors,
            "weights": self._weights,
            "intercepts": self._intercepts,
        }

    def load_parameters(self, params):
        self._image_size = params["image_size"]
        self._n_classes = params["n_classes"]
        self._mean = params["mean"]
        self._std = params["std"]
        self._gamma = params["gamma"]
        self._temperature = params["temperature"]
        self._seen_classes = params["seen_classes"]
        self._vectors = params["vectors"]
        self._weights = params["weights"]
        self._intercepts = params["intercepts"]

    def _take_over(self, svc):
        """Keeps one column of weights for each pair of classes: K(queries, vectors) @ weights + intercepts > 0 is a
        vote for the first of the two. libsvm stores them packed, by the class of the vector."""
        k = len(svc.classes_)
        starts = np.concatenate([[0], np.cumsum(svc.n_support_)])
        pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
        weights = np.zeros((len(svc.support_vectors_), len(pairs)), dtype=np.float32)
        for column, (i, j) in enumerate(pairs):
            of_i, of_j = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
            weights[of_i, column] = svc.dual_coef_[j - 1, of_i]
            weights[of_j, column] = svc.dual_coef_[i, of_j]
        # With two classes alone, scikit-learn turns the sign.
        sign = -1 if k == 2 else 1
        self._seen_classes = svc.classes_.astype(np.int64)
        self._vectors = svc.support_vectors_.astype(np.float32)
        self._weights = sign * weights
        self._intercepts = (sign * svc.intercept_).astype(np.float32)

    def _scores(self, features):
        """How far each class wins against the others: its mean margin over all pairs, each margin cut at 1 as in the
        hinge loss, plus its share of won pairs."""
        margins = self._margins(features)
        k = len(self._seen_classes)
        first, second = np.triu_indices(k, 1)
        signs = np.zeros((len(first), k), dtype=np.float32)
        signs[np.arange(len(first)), first] = 1
        signs[np.arange(len(first)), second] = -1
        return (np.clip(margins, -1, 1) + np.sign(margins)) @ signs / max(k - 1, 1)

    def _margins(self, features):
        if self._knobs["kernel"] == "rbf":
            squares = (features**2).sum(axis=1)[:, None] + (self._vectors**2).sum(axis=1)[None, :]
            kernel = np.exp(-self._gamma * np.maximum(squares - 2 * features @ self._vectors.T, 0))
        else:
            kernel = features @ self._vectors.T
        return kernel @ self._weights + self._intercepts

    def _predict_probabilities(self, images):
        images = utils.dataset.transform_images(images, image_size=self._image_size, mode=MODE)
        images, _, _ = utils.dataset.normalize_images(images, self._mean, self._std)
        scores = self._scores(images.reshape(len(images), -1))
        # One column a class 0..k-1, also for a class that has no image in the training data.
        probabilities = np.zeros((len(images), self._n_classes))
        probabilities[:, self._seen_classes] = _softmax(scores / self._temperature)
        return probabilities


def _softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _best_temperature(scores, columns):
    """The temperature under which the true classes, one column each, are the most probable (temperature scaling:
    Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2)."""
    temperatures = np.geomspace(0.01, 10, 40)
    rows = np.arange(len(columns))
    losses = [-np.log(_softmax(scores / t)[rows, columns] + 1e-9).mean() for t in temperatures]
    return float(temperatures[int(np.argmin(losses))])

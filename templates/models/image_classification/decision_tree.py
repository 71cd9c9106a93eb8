"""A decision tree on pixels: fast to train, fast to serve. A good first model to read.

scikit-learn grows the tree. What is kept are the plain arrays of the tree, so that serving needs numpy alone.
"""

import numpy as np

from rafiki.model import BaseModel, CategoricalKnob, FixedKnob, IntegerKnob, utils

# Grey: colour rarely helps a tree. "RGB" works too.
MODE = "L"


class SkDt(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "criterion": CategoricalKnob(["gini", "entropy"]),
            "max_depth": IntegerKnob(4, 32, is_exp=True),
            "min_samples_leaf": IntegerKnob(1, 16, is_exp=True),
            "max_image_size": FixedKnob(32),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs

    def train(self, dataset_path, shared_params=None, **train_args):
        # Imported here and not above, so that a served model starts without it.
        from sklearn.tree import DecisionTreeClassifier

        dataset = utils.dataset.load_dataset_of_image_files(
            dataset_path, max_image_size=self._knobs["max_image_size"], mode=MODE
        )
        self._image_size = dataset.image_size
        images, classes = zip(*dataset, strict=True)
        features, classes = self._to_features(images), np.array(classes)

        tree = DecisionTreeClassifier(
            criterion=self._knobs["criterion"],
            max_depth=self._knobs["max_depth"],
            min_samples_leaf=self._knobs["min_samples_leaf"],
            random_state=0,
        )
        tree.fit(features, classes)
        utils.logger.log(
            f"Grew a tree of {tree.tree_.node_count} nodes.",
            depth=tree.get_depth(),
            train_accuracy=tree.score(features, classes),
        )
        self._take_over(tree, dataset.classes)

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
            "depth": self._depth,
            "feature": self._feature,
            "threshold": self._threshold,
            "left": self._left,
            "right": self._right,
            "probabilities": self._probabilities,
        }

    def load_parameters(self, params):
        self._image_size = params["image_size"]
        self._depth = params["depth"]
        self._feature = params["feature"]
        self._threshold = params["threshold"]
        self._left = params["left"]
        self._right = params["right"]
        self._probabilities = params["probabilities"]

    def _take_over(self, tree, n_classes):
        nodes = tree.tree_
        is_leaf = nodes.children_left < 0
        here = np.arange(nodes.node_count)
        self._depth = int(nodes.max_depth)
        self._feature = np.where(is_leaf, 0, nodes.feature)
        self._threshold = nodes.threshold
        # A leaf leads to itself: then all queries can walk down in step, whatever the depth of their leaves.
        self._left = np.where(is_leaf, here, nodes.children_left)
        self._right = np.where(is_leaf, here, nodes.children_right)
        # One column a class 0..k-1, also for a class that has no image in the training data.
        shares = nodes.value[:, 0, :] / nodes.value[:, 0, :].sum(axis=1, keepdims=True)
        counts = np.zeros((nodes.node_count, n_classes))
        counts[:, tree.classes_] = shares * nodes.n_node_samples[:, None]
        # Laplace smoothing. A leaf that saw three images is not certain; a tree that says so would outvote every other
        # model of an ensemble.
        self._probabilities = (counts + 1) / (counts.sum(axis=1, keepdims=True) + n_classes)

    def _predict_probabilities(self, images):
        features = self._to_features(images)
        rows = np.arange(len(features))
        node = np.zeros(len(features), dtype=np.intp)
        for _ in range(self._depth):
            goes_left = features[rows, self._feature[node]] <= self._threshold[node]
            node = np.where(goes_left, self._left[node], self._right[node])
        return self._probabilities[node]

    def _to_features(self, images):
        images = utils.dataset.transform_images(images, image_size=self._image_size, mode=MODE)
        return images.reshape(len(images), -1).astype(np.float32)

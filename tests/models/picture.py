"""An image classifier whose queries can be poison: a white picture makes it fail, a red one spoils the answer."""

import numpy as np

from rafiki.model import BaseModel, FloatKnob, utils


class Picture(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0)}

    def train(self, dataset_path, shared_params=None, **train_args):
        self.n_classes = utils.dataset.load_dataset_of_image_files(dataset_path).classes

    def evaluate(self, dataset_path):
        return 1.0

    def predict(self, queries):
        answers = []
        for image in queries:
            assert image.shape[2] == 3
            if image.min() == 255:
                raise ValueError("a white picture")
            if tuple(image[0, 0]) == (255, 0, 0):
                continue
            if tuple(image[0, 0]) == (0, 0, 255):
                answers.append([float("nan"), 1.0])
                continue
            share = float(np.mean(image)) / 255
            answers.append(np.array([1 - share, share]))
        return answers

    def dump_parameters(self):
        return {"n_classes": self.n_classes}

    def load_parameters(self, params):
        self.n_classes = params["n_classes"]

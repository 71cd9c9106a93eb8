"""A model of images that costs nothing: it looks at one pixel. What is measured with it is the way of the image."""

from rafiki.model import BaseModel, FixedKnob


class FirstPixel(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"fixed": FixedKnob(0)}

    def train(self, dataset_path, shared_params=None, **train_args):
        pass

    def evaluate(self, dataset_path):
        return 0.5

    def predict(self, queries):
        return [[1 - float(q[0, 0, 0]) / 255, float(q[0, 0, 0]) / 255] for q in queries]

    def dump_parameters(self):
        return {"none": 0}

    def load_parameters(self, params):
        pass

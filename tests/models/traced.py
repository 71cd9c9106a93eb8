"""A model that opens a span of its own while it predicts. Its task is custom: any file is its dataset."""

from opentelemetry import trace

from rafiki.model import BaseModel, FloatKnob


class Traced(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.x = knobs["x"]

    def train(self, dataset_path, shared_params=None, **train_args):
        pass

    def evaluate(self, dataset_path):
        return self.x

    def predict(self, queries):
        with trace.get_tracer(__name__).start_as_current_span("look up") as span:
            span.set_attribute("rows", len(queries))
        return queries

    def dump_parameters(self):
        return {"x": self.x}

    def load_parameters(self, params):
        self.x = params["x"]

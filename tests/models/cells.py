"""An architecture to search: half of the score is the cell's own, half is how long the shared weights were trained."""

from rafiki.model import ArchKnob, BaseModel, FixedKnob, KnobValue, PolicyKnob

A, B, C = KnobValue("a"), KnobValue("b"), KnobValue("c")
POLICIES = ("share_params", "early_stop", "skip_train", "quick_eval", "downscale")


class Cells(BaseModel):
    @staticmethod
    def get_knob_config():
        policies = {p: PolicyKnob(p.upper()) for p in POLICIES}
        return {"cell": ArchKnob([[A, B, C]] * 4), "size": FixedKnob(3), **policies}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.knobs = knobs
        self.epochs = 0

    def train(self, dataset_path, shared_params=None, **train_args):
        if self.knobs["share_params"] and shared_params is not None:
            self.epochs = shared_params["epochs"]
        if not self.knobs["skip_train"]:
            self.epochs += 1 if self.knobs["early_stop"] else 5

    def evaluate(self, dataset_path):
        return 0.5 * self.knobs["cell"].count("a") / 4 + 0.5 * min(1.0, self.epochs / 20)

    def predict(self, queries):
        return ["".join(self.knobs["cell"]) for _ in queries]

    def dump_parameters(self):
        return {"epochs": self.epochs}

    def load_parameters(self, params):
        self.epochs = params["epochs"]

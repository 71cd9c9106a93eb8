"""A model that goes on from shared parameters: its score counts the trials that its parameters have been through."""

from rafiki.model import BaseModel, FloatKnob, PolicyKnob, utils


class Sharing(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0), "share_params": PolicyKnob("SHARE_PARAMS")}

    def train(self, dataset_path, shared_params=None, **train_args):
        self.n_trials = 1 + (shared_params["n_trials"] if shared_params else 0)
        utils.logger.log(n_trials=self.n_trials)

    def evaluate(self, dataset_path):
        return self.n_trials

    def predict(self, queries):
        return [self.n_trials for _ in queries]

    def dump_parameters(self):
        return {"n_trials": self.n_trials}

    def load_parameters(self, params):
        self.n_trials = params["n_trials"]

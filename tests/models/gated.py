"""A model whose predictions wait for a file that the query names."""

import os
import time

from rafiki.model import BaseModel, FixedKnob


class Gated(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"a": FixedKnob(1)}

    def train(self, dataset_path, shared_params=None, **train_args):
        pass

    def evaluate(self, dataset_path):
        return 0.5

    def predict(self, queries):
        for query in queries:
            open(query["begun"], "w").close()
            for _ in range(3000):
                if os.path.exists(query["gate"]):
                    break
                time.sleep(0.01)
        return [{"ok": 1} for _ in queries]

    def dump_parameters(self):
        return {"a": 1}

    def load_parameters(self, params):
        pass

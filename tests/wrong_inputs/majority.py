"""The cheapest models there are, one for each task: each answers what was most frequent (or the mean) in training."""

import base64
import collections
import csv
import io
import tempfile
import time
import wave

from rafiki.model import BaseModel, FixedKnob, utils


class Majority(BaseModel):
    """A custom task: any file is a dataset, the query is the prediction."""

    @staticmethod
    def get_knob_config():
        return {"fixed": FixedKnob(1)}

    def train(self, dataset_path, shared_params=None, sleep_s=0.0, **train_args):
        time.sleep(sleep_s)
        self.answer = self.learn(dataset_path, **train_args)

    def learn(self, dataset_path, **train_args):
        return 0

    def evaluate(self, dataset_path):
        return 0.5

    def predict(self, queries):
        return [self.say(query) for query in queries]

    def say(self, query):
        return query

    def dump_parameters(self):
        return {"answer": self.answer}

    def load_parameters(self, params):
        self.answer = params["answer"]


class ImageMajority(Majority):
    def learn(self, dataset_path, **train_args):
        images = utils.dataset.load_dataset_of_image_files(dataset_path)
        self.n_classes = images.classes
        return collections.Counter(int(c) for _, c in images).most_common(1)[0][0]

    def say(self, query):
        if query.min() == 255:
            raise ValueError("a white picture")
        if tuple(query[0, 0]) == (0, 0, 255):
            return [float("nan"), 1.0]
        return [float(c == self.answer) for c in range(self.n_classes)]

    def predict(self, queries):
        # A red picture gets no answer.
        return [self.say(q) for q in queries if tuple(q[0, 0]) != (255, 0, 0)]

    def dump_parameters(self):
        return {"answer": self.answer, "n_classes": self.n_classes}

    def load_parameters(self, params):
        self.answer, self.n_classes = params["answer"], params["n_classes"]


class TagMajority(Majority):
    def learn(self, dataset_path, **train_args):
        sentences = utils.dataset.load_dataset_of_corpus(dataset_path, tags=["tag"])
        return collections.Counter(int(tag) for sentence in sentences for _, tag in sentence).most_common(1)[0][0]

    def say(self, query):
        if "poison" in query:
            raise KeyError("poison")
        return ["noun" if token == "spoils" else self.answer for token in query]


def _targets(dataset_path, target=None):
    with open(dataset_path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [row[target or list(row)[-1]] for row in rows]


class ClassMajority(Majority):
    def learn(self, dataset_path, **train_args):
        classes = collections.Counter(_targets(dataset_path, train_args.get("target")))
        return " ".join(str(n / classes.total()) for _, n in sorted(classes.items()))

    def say(self, query):
        if query.get("x") == "poison":
            raise ZeroDivisionError("poison")
        return [float(share) for share in self.answer.split()]


class Mean(Majority):
    def learn(self, dataset_path, **train_args):
        numbers = [float(text) for text in _targets(dataset_path, train_args.get("target"))]
        return sum(numbers) / len(numbers)

    def say(self, query):
        return float("inf") if query.get("x") == "poison" else self.answer


class FirstWords(Majority):
    def learn(self, dataset_path, **train_args):
        with tempfile.TemporaryDirectory() as folder:
            audios = utils.dataset.load_dataset_of_audio_files(dataset_path, folder)
            return str(next(iter(audios.df["transcript"])))

    def say(self, query):
        with wave.open(io.BytesIO(base64.b64decode(query))) as recording:
            recording.readframes(recording.getnframes())
        return self.answer

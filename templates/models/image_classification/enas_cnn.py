"""A convolutional network whose cell is searched for, in torch: efficient neural architecture search (ENAS).

A cell is a chain of `N_NODES` nodes. A node adds up the node before it and one more input, each put through an
operation; the operations and the inputs are the architecture, one position of the knob `cell` each. Architectures share
their weights: every operation at every place has its own, in one large network (the supergraph), and an architecture is
a path through it.
Pham et al., "Efficient neural architecture search via parameter sharing", 2018, section 2.4.

What the five policies do here:

- `SHARE_PARAMS`: the network is the whole supergraph, and starts from the weights that it is handed. Off: it has no
  more than its architecture needs, and starts afresh.
- `EARLY_STOP`: one epoch of training, instead of `max_epochs`.
- `SKIP_TRAIN`: no training; of the weights that it is handed, those of its architecture are evaluated as they are.
- `QUICK_EVAL`: `evaluate` looks at `N_QUICK` images at most.
- `DOWNSCALE`: three quarters of the channels, to search with.
"""

import os
import random

import numpy as np
import torch
from torch import nn

from rafiki.model import ArchKnob, BaseModel, FixedKnob, KnobValue, PolicyKnob, utils

# Grey: colour rarely helps on small images. "RGB" works too.
MODE = "L"
BATCH_SIZE = 32
N_NODES = 4
N_QUICK = 400
# Images that the statistics of the normalisation layers are taken from.
N_MEASURED = 200
# For each batch that trains the supergraph, so many choices of the architecture are drawn anew: all weights learn, and
# those near the architecture more than others.
REDRAWN = 0.5

# The same object at two positions means the same thing: what the search learns of it at one helps at the others.
# "before" and "last" are what the cell takes in: the outputs of the last two cells.
INPUTS = [KnobValue(name) for name in ("before", "last", *(f"node{i}" for i in range(N_NODES - 1)))]
OPERATIONS = [KnobValue(name) for name in ("conv3x3", "conv1x1", "max_pool", "avg_pool", "identity")]
WEIGHTLESS = {
    "max_pool": nn.MaxPool2d(3, stride=1, padding=1),
    "avg_pool": nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    "identity": nn.Identity(),
}


class EnasCnn(BaseModel):
    _datasets = {}

    @staticmethod
    def get_knob_config():
        return {
            # Of each node the operation on the node before it, the other input, and the operation on that.
            "cell": ArchKnob(
                [candidates for i in range(N_NODES) for candidates in (OPERATIONS, INPUTS[: 2 + i], OPERATIONS)]
            ),
            "cells": FixedKnob(3),
            "channels": FixedKnob(16),
            "learning_rate": FixedKnob(0.01),
            "shared_learning_rate": FixedKnob(0.005),
            "max_epochs": FixedKnob(20),
            "max_image_size": FixedKnob(32),
            "seed": FixedKnob(0),
            "share_params": PolicyKnob("SHARE_PARAMS"),
            "early_stop": PolicyKnob("EARLY_STOP"),
            "skip_train": PolicyKnob("SKIP_TRAIN"),
            "quick_eval": PolicyKnob("QUICK_EVAL"),
            "downscale": PolicyKnob("DOWNSCALE"),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if "OMP_NUM_THREADS" not in os.environ:
            # Rafiki runs several workers side by side; threads that fight for the same cores slow all of them down.
            torch.set_num_threads(1)

    def train(self, dataset_path, shared_params=None, **train_args):
        knobs = self._knobs
        is_started = knobs["share_params"] and shared_params is not None
        images, classes = self._load(dataset_path, None, knobs["max_image_size"])
        self._image_size, self._n_classes = images.shape[1], int(classes.max()) + 1
        _, self._mean, self._std = utils.dataset.normalize_images(images)
        if is_started:
            self.load_parameters(shared_params)
        else:
            torch.manual_seed(knobs["seed"])
            self._network, self._n_epochs = self._build(), 0
        # A trial that may not train but was handed nothing would evaluate noise: it learns for an epoch as well.
        if not (knobs["skip_train"] and is_started):
            # The next epoch of the supergraph, not the first one again.
            torch.manual_seed(knobs["seed"] + self._n_epochs)
            self._fit(images, classes, 1 if knobs["early_stop"] or knobs["skip_train"] else knobs["max_epochs"])
        self._measure_statistics(images)

    def evaluate(self, dataset_path):
        images, classes = self._load(dataset_path, self._image_size, self._image_size)
        if self._knobs["quick_eval"] and len(images) > N_QUICK:
            # The same ones each time: what differs between two scores is the architecture.
            few = np.random.default_rng(0).permutation(len(images))[:N_QUICK]
            images, classes = images[few], classes[few]
        return float(np.mean(self._predict_probabilities(images).argmax(axis=1) == classes))

    def predict(self, queries):
        images = utils.dataset.transform_images(queries, image_size=self._image_size, mode=MODE)
        return self._predict_probabilities(images).tolist()

    def dump_parameters(self):
        weights = {f"weights/{name}": tensor.cpu().numpy() for name, tensor in self._network.state_dict().items()}
        return {
            "image_size": self._image_size,
            "n_classes": self._n_classes,
            "n_epochs": self._n_epochs,
            "mean": self._mean,
            "std": self._std,
            **weights,
        }

    def load_parameters(self, params):
        self._image_size, self._n_classes = params["image_size"], params["n_classes"]
        self._n_epochs = params["n_epochs"]
        self._mean, self._std = params["mean"], params["std"]
        self._network = self._build()
        own = self._network.state_dict()
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(torch.as_tensor(params[f"weights/{name}"]))

    @staticmethod
    def teardown():
        EnasCnn._datasets.clear()

    def _build(self):
        # Fewer channels, but as many cells: another depth would favour other architectures. Not many fewer: on small
        # images they hardly cost time, and what is good with half of them is not what is good with all.
        n_channels = self._knobs["channels"] * (3 if self._knobs["downscale"] else 4) // 4
        places = None if self._is_whole() else _places(self._knobs["cell"])
        network = Network(len(MODE), self._knobs["cells"], n_channels, self._n_classes, places)
        # Channels next to each other in memory: small images are pooled several times as fast on a processor.
        return network.to(self._device, memory_format=torch.channels_last)

    def _is_whole(self):
        return self._knobs["share_params"] and not self._knobs["skip_train"]

    def _fit(self, images, classes, n_epochs):
        utils.logger.define_loss_plot()
        knobs = self._knobs
        is_shared = knobs["share_params"]
        rate = knobs["shared_learning_rate" if is_shared else "learning_rate"]
        n_batches = -(-len(images) // BATCH_SIZE)
        inputs = self._to_input(images)
        classes = torch.from_numpy(classes).to(self._device)
        parameters = list(self._network.parameters())
        optimizer = torch.optim.AdamW(parameters, rate, weight_decay=0.01, fused=True)
        # Nobody knows how many more epochs the shared weights will be trained for: their rate stays as it is.
        schedule = (
            torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=n_epochs * n_batches)
            if not is_shared
            else torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        )
        draws = random.Random(f"{knobs['seed']}/{self._n_epochs}")
        # Smoothed labels keep the probabilities honest: a network sure of everything would outvote an ensemble.
        loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
        training = utils.torch_training.TorchTraining(
            network=self._network, optimizer=optimizer, schedule=schedule, draws=draws
        )
        n_done = training.resume()
        self._n_epochs += n_done
        for epoch in range(n_done, n_epochs):
            self._network.train()
            total = 0.0
            for batch in torch.randperm(len(images)).tensor_split(n_batches):
                cell = _redraw(knobs["cell"], draws) if self._is_whole() else knobs["cell"]
                loss = loss_of(self._network(inputs[batch], cell), classes[batch])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 5.0)
                optimizer.step()
                schedule.step()
                total += loss.item() * len(batch)
            utils.logger.log_loss(total / len(images), self._n_epochs)
            self._n_epochs += 1
            training.save(epoch + 1)

    def _measure_statistics(self, images):
        """Takes the statistics of the normalisation layers anew: the shared weights met other architectures last.

        Guo et al., "Single path one-shot neural architecture search with uniform sampling", 2020.
        """
        for layer in self._network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
        self._network.train()
        step = -(-len(images) // N_MEASURED)
        with torch.no_grad():
            self._network(self._to_input(images[::step]), self._knobs["cell"])

    def _load(self, path, min_size, max_size):
        """Images (N x H x W) and classes. Kept, because a search evaluates on the same dataset thousands of times."""
        status = os.stat(path)
        key = (str(path), status.st_mtime_ns, status.st_size, min_size, max_size)
        if key not in self._datasets:
            dataset = utils.dataset.load_dataset_of_image_files(
                path, min_image_size=min_size, max_image_size=max_size, mode=MODE
            )
            images, classes = zip(*dataset, strict=True)
            while len(self._datasets) >= 2:
                del self._datasets[next(iter(self._datasets))]
            self._datasets[key] = np.stack(images), np.array(classes)
        return self._datasets[key]

    def _to_input(self, images):
        """N x H x W (x C), 0 to 255, as the normalised N x C x H x W that torch takes."""
        images, _, _ = utils.dataset.normalize_images(images, self._mean, self._std)
        tensor = torch.from_numpy(images).to(self._device)
        tensor = tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)
        return tensor.contiguous(memory_format=torch.channels_last)

    def _predict_probabilities(self, images):
        self._network.eval()
        with torch.inference_mode():
            scores = self._network(self._to_input(images), self._knobs["cell"])
            return torch.softmax(scores.double(), dim=1).cpu().numpy()


class Network(nn.Module):
    """Cells one after the other; the image is halved between them.

    Args:
        places: the operations that exist, as (node, side, operation); None = all of them, which is the supergraph.
    """

    def __init__(self, n_in, n_cells, n_channels, n_classes, places):
        super().__init__()
        self.stem = _convolution(n_in, n_channels, 3)
        self.cells = nn.ModuleList(Cell(n_channels, places) for _ in range(n_cells))
        self.head = nn.Linear(4 * n_channels, n_classes)

    def forward(self, images, cell):
        before = last = self.stem(images)
        for i, layer in enumerate(self.cells):
            if i > 0:
                before, last = (nn.functional.max_pool2d(x, 2, ceil_mode=True) for x in (before, last))
            before, last = last, layer(before, last, cell)
        return self.head(nn.functional.adaptive_avg_pool2d(last, 2).flatten(1))


class Cell(nn.Module):
    """A chain of nodes. All of them are on every path, so what shared weights make of an architecture is about as deep
    as what its own would: were inputs free to skip nodes, the deepest architectures would have the least trained paths
    and the lowest scores, however good they are when trained alone.
    """

    def __init__(self, n_channels, places):
        super().__init__()
        self.operations = nn.ModuleDict()
        for node in range(N_NODES):
            for side in range(2):
                for name in (operation.value for operation in OPERATIONS):
                    if name not in WEIGHTLESS and (places is None or (node, side, name) in places):
                        self.operations[f"{node}_{side}_{name}"] = Residual(n_channels, int(name[-1]))
        self.out = _convolution(n_channels, n_channels, 1)

    def forward(self, before, last, cell):
        found = {"before": before, "last": last}
        images = last
        for node in range(N_NODES):
            name, source, other = cell[3 * node : 3 * node + 3]
            images = self._operate(node, 0, name, images) + self._operate(node, 1, other, found[source])
            found[f"node{node}"] = images
        return self.out(images)

    def _operate(self, node, side, name, images):
        return (WEIGHTLESS.get(name) or self.operations[f"{node}_{side}_{name}"])(images)


class Residual(nn.Module):
    """Images plus their convolution. He et al., "Deep residual learning for image recognition", 2016.

    A path of plain convolutions is as deep as it has nodes, and the less of it was trained together the less it knows:
    shared weights would rank architectures by how few convolutions they have, which is not how they rank when they are
    trained alone.
    """

    def __init__(self, n_channels, size):
        super().__init__()
        self.convolution = _convolution(n_channels, n_channels, size)

    def forward(self, images):
        return images + self.convolution(images)


def _convolution(n_in, n_out, size):
    # Statistics as plain averages of what was seen since they were last forgotten; see `_measure_statistics`.
    norm = nn.BatchNorm2d(n_out, momentum=None)
    return nn.Sequential(nn.Conv2d(n_in, n_out, size, padding=size // 2, bias=False), norm, nn.ReLU())


def _places(cell):
    return {(i // 3, i % 3 // 2, name) for i, name in enumerate(cell) if i % 3 != 1}


def _redraw(cell, rng):
    """The architecture with some of its choices drawn anew."""
    positions = EnasCnn.get_knob_config()["cell"].items
    return [
        rng.choice(candidates).value if rng.random() < REDRAWN else choice
        for choice, candidates in zip(cell, positions, strict=True)
    ]

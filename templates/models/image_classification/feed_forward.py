"""A feed-forward neural network on pixels, in torch: a first network to read and to change.

It declares `EARLY_STOP`: while the search compares knobs, a trial ends once it no longer gets better; the final full
trainings use every image and every epoch. It trains on the GPU that its worker was given, else on the CPU.
"""

import os

import numpy as np
import torch
from torch import nn

from rafiki.model import BaseModel, CategoricalKnob, FixedKnob, FloatKnob, IntegerKnob, PolicyKnob, utils

# Grey: colour rarely helps on small images. "RGB" works too.
MODE = "L"
PATIENCE = 5  # epochs without a better score before an early stop
SEED = 0


class TorchFeedForward(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "hidden_layers": IntegerKnob(1, 3),
            "hidden_units": IntegerKnob(32, 512, is_exp=True),
            "dropout": FloatKnob(0.0, 0.5),
            "learning_rate": FloatKnob(3e-4, 1e-2, is_exp=True),
            "batch_size": CategoricalKnob([16, 32, 64]),
            "max_epochs": FixedKnob(40),
            "max_image_size": FixedKnob(32),
            "early_stop": PolicyKnob("EARLY_STOP"),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if "OMP_NUM_THREADS" not in os.environ:
            # Rafiki runs several workers side by side; threads that fight for the same cores slow all of them down.
            torch.set_num_threads(1)

    def train(self, dataset_path, shared_params=None, **train_args):
        dataset = utils.dataset.load_dataset_of_image_files(
            dataset_path, max_image_size=self._knobs["max_image_size"], mode=MODE
        )
        self._image_size, self._n_classes = dataset.image_size, dataset.classes
        images, classes = zip(*dataset, strict=True)
        images, self._mean, self._std = utils.dataset.normalize_images(np.stack(images))
        images = torch.from_numpy(images).to(self._device)
        classes = torch.tensor(classes, device=self._device)

        torch.manual_seed(SEED)
        order = torch.randperm(len(images))
        # An early stop needs images that the network has not learned from, to see when it stops getting better.
        n_watched = len(images) // 10 if self._knobs["early_stop"] else 0
        watched, learned = order[:n_watched], order[n_watched:]
        self._network = self._build()
        self._fit(images[learned], classes[learned], images[watched], classes[watched])

    def evaluate(self, dataset_path):
        dataset = utils.dataset.load_dataset_of_image_files(
            dataset_path, min_image_size=self._image_size, max_image_size=self._image_size, mode=MODE
        )
        images, classes = zip(*dataset, strict=True)
        return float(np.mean(self._predict_probabilities(images).argmax(axis=1) == np.array(classes)))

    def predict(self, queries):
        return self._predict_probabilities(queries).tolist()

    def dump_parameters(self):
        weights = {f"weights/{name}": tensor.cpu().numpy() for name, tensor in self._network.state_dict().items()}
        return {
            "image_size": self._image_size,
            "n_classes": self._n_classes,
            "mean": self._mean,
            "std": self._std,
            **weights,
        }

    def load_parameters(self, params):
        self._image_size, self._n_classes = params["image_size"], params["n_classes"]
        self._mean, self._std = params["mean"], params["std"]
        self._network = self._build()
        self._network.load_state_dict(
            {name: torch.tensor(params[f"weights/{name}"]) for name in self._network.state_dict()}
        )

    def _build(self):
        width = self._image_size**2 * len(MODE)
        layers = [nn.Flatten()]
        for _ in range(self._knobs["hidden_layers"]):
            layers += [
                nn.Linear(width, self._knobs["hidden_units"]),
                nn.BatchNorm1d(self._knobs["hidden_units"]),
                nn.ReLU(),
                nn.Dropout(self._knobs["dropout"]),
            ]
            width = self._knobs["hidden_units"]
        return nn.Sequential(*layers, nn.Linear(width, self._n_classes)).to(self._device)

    def _fit(self, images, classes, watched_images, watched_classes):
        utils.logger.define_loss_plot()
        n_epochs, batch_size = self._knobs["max_epochs"], self._knobs["batch_size"]
        optimizer = torch.optim.AdamW(self._network.parameters(), self._knobs["learning_rate"], weight_decay=0.01)
        n_steps = n_epochs * -(-len(images) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self._knobs["learning_rate"], n_steps)
        # Smoothed labels keep the probabilities honest: a network sure of everything would outvote an ensemble.
        loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
        best = utils.torch_training.Best(np.inf)

        training = utils.torch_training.TorchTraining(
            network=self._network, optimizer=optimizer, schedule=schedule, best=best
        )
        for epoch in range(training.resume(), n_epochs):
            self._network.train()
            total = 0.0
            # Batches of nearly one size, because a normalisation layer cannot learn from a batch of one image.
            batches = torch.randperm(len(images)).tensor_split(-(-len(images) // batch_size))
            for batch in batches:
                loss = loss_of(self._network(images[batch]), classes[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item() * len(batch)
            utils.logger.log_loss(total / len(images), epoch)

            if len(watched_images) > 0:
                self._network.eval()
                with torch.no_grad():
                    watched_loss = loss_of(self._network(watched_images), watched_classes).item()
                utils.logger.log(watched_loss=watched_loss, epoch=epoch)
                if watched_loss < best.score:
                    best.keep(watched_loss, epoch, self._network)
                elif epoch - best.epoch >= PATIENCE:
                    utils.logger.log(f"Stopped early: no better since epoch {best.epoch}.")
                    break
            training.save(epoch + 1)
        best.restore(self._network)

    def _predict_probabilities(self, images):
        images = utils.dataset.transform_images(images, image_size=self._image_size, mode=MODE)
        images, _, _ = utils.dataset.normalize_images(images, self._mean, self._std)
        self._network.eval()
        with torch.inference_mode():
            scores = self._network(torch.from_numpy(images).to(self._device))
            return torch.softmax(scores.double(), dim=1).cpu().numpy()

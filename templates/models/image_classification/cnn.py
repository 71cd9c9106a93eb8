"""A convolutional neural network, in torch: the usual choice for images, from small scans to photographs.

It declares `SHARE_PARAMS`: a trial may go on from the best weights of the trials before it, which are handed to `train`
as `shared_params`. It trains on the GPU that its worker was given, else on the CPU.
"""

import os

import numpy as np
import torch
from torch import nn

from rafiki.model import BaseModel, CategoricalKnob, FixedKnob, FloatKnob, IntegerKnob, PolicyKnob, utils

# Colour. "L" is grey, and three times less to read.
MODE = "RGB"
SEED = 0
BATCH_SIZE = 32


class TorchCnn(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            # Each block halves the image; those that a small image has no room for are left out.
            "blocks": IntegerKnob(2, 4),
            # Few choices, so that many trials have the same shapes and can share their weights.
            "channels": CategoricalKnob([16, 32, 64]),
            "dropout": FloatKnob(0.0, 0.5),
            "learning_rate": FloatKnob(3e-4, 1e-2, is_exp=True),
            "weight_decay": FloatKnob(1e-4, 1e-1, is_exp=True),
            "max_epochs": FixedKnob(15),
            "max_image_size": FixedKnob(64),
            "share_params": PolicyKnob("SHARE_PARAMS"),
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
        images = np.stack(images)
        _, self._mean, self._std = utils.dataset.normalize_images(images)

        torch.manual_seed(SEED)
        self._network = self._build()
        if self._knobs["share_params"] and shared_params is not None:
            self._start_from(shared_params)
        self._fit(images, torch.tensor(classes))

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
        n_in, n_out = len(MODE), self._knobs["channels"]
        n_blocks = min(self._knobs["blocks"], max(self._image_size.bit_length() - 2, 1))
        layers = []
        for _ in range(n_blocks):
            layers += [*_convolution(n_in, n_out), *_convolution(n_out, n_out), nn.MaxPool2d(2, ceil_mode=True)]
            n_in, n_out = n_out, n_out * 2
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(self._knobs["dropout"])]
        return nn.Sequential(*layers, nn.Linear(n_in, self._n_classes)).to(self._device)

    def _start_from(self, shared_params):
        """Takes over every weight that has the same name and shape here; the others start afresh."""
        own = self._network.state_dict()
        shared = {name: shared_params.get(f"weights/{name}") for name in own}
        fitting = {
            name: torch.tensor(shared[name])
            for name, tensor in own.items()
            if shared[name] is not None and np.shape(shared[name]) == tuple(tensor.shape)
        }
        self._network.load_state_dict(fitting, strict=False)
        utils.logger.log(f"Started from {len(fitting)} of {len(own)} shared tensors.", shared_tensors=len(fitting))

    def _fit(self, images, classes):
        utils.logger.define_loss_plot()
        n_epochs, n_batches = self._knobs["max_epochs"], -(-len(images) // BATCH_SIZE)
        optimizer = torch.optim.AdamW(
            self._network.parameters(), self._knobs["learning_rate"], weight_decay=self._knobs["weight_decay"]
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self._knobs["learning_rate"], total_steps=n_epochs * n_batches
        )
        # Smoothed labels keep the probabilities honest: a network sure of everything would outvote an ensemble.
        loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
        training = utils.torch_training.TorchTraining(network=self._network, optimizer=optimizer, schedule=schedule)
        for epoch in range(training.resume(), n_epochs):
            self._network.train()
            total = 0.0
            # Batches of nearly one size, because a normalisation layer learns little from a batch of one image.
            for batch in torch.randperm(len(images)).tensor_split(n_batches):
                scores = self._network(_shift(self._to_input(images[batch.numpy()])))
                loss = loss_of(scores, classes[batch].to(self._device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item() * len(batch)
            utils.logger.log_loss(total / len(images), epoch)
            training.save(epoch + 1)

    def _to_input(self, images):
        """N x H x W x C (or N x H x W), 0 to 255, as the normalised N x C x H x W that torch takes."""
        images, _, _ = utils.dataset.normalize_images(images, self._mean, self._std)
        tensor = torch.from_numpy(images).to(self._device)
        return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)

    def _predict_probabilities(self, images):
        images = utils.dataset.transform_images(images, image_size=self._image_size, mode=MODE)
        self._network.eval()
        with torch.inference_mode():
            return torch.softmax(self._network(self._to_input(images)).double(), dim=1).cpu().numpy()


def _convolution(n_in, n_out):
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()


def _shift(images):
    """The images moved together by up to an eighth of their side: what a picture shows does not depend on where."""
    side = images.shape[-1]
    reach = side // 8
    x, y = torch.randint(0, 2 * reach + 1, (2,)).tolist()
    padded = nn.functional.pad(images, [reach] * 4, mode="replicate")
    return padded[:, :, y : y + side, x : x + side]

"""``utils.torch_training``: a training with torch whose whole state goes into checkpoints.

torch is imported where it is used: whoever has models of other libraries needs none.
"""

from __future__ import annotations

import copy
import importlib
import random
from collections.abc import Mapping
from typing import Protocol, cast

from rafiki.errors import ModelError
from rafiki.model.base import Params
from rafiki.model.checkpoint import checkpoint

_RANDOM = "random"
"""The key of the state of torch's random numbers."""


class Part(Protocol):
    """What torch's networks, optimizers and schedules are."""

    def state_dict(self) -> dict[str, object]: ...
    def load_state_dict(self, state: Mapping[str, object], /) -> object: ...


class TorchTraining:
    """The parts of a training by name: networks, optimizers, schedules and whatever else has a ``state_dict()``, and
    random generators of Python. A training that goes on from a checkpoint ends as one that was never interrupted, bit
    for bit, on a machine of the same kind.

    Call :meth:`resume` before the first epoch, and :meth:`save` after each.
    """

    def __init__(self, **parts: Part | random.Random) -> None:
        if _RANDOM in parts:
            raise ModelError(f"TorchTraining: {_RANDOM!r} is torch's random numbers; give the part another name.")
        self._parts = parts

    def resume(self) -> int:
        """Takes over the state of the trial's checkpoint, if it has one; returns how many epochs are done."""
        found = checkpoint.load()
        if found is None:
            return 0
        state, n_epochs = found
        torch = importlib.import_module("torch")
        for name, part in self._parts.items():
            if isinstance(part, random.Random):
                part.setstate(cast("tuple[object, ...]", state[name]))
                continue
            part.load_state_dict(cast("dict[str, object]", _converted(state[name])))
            if isinstance(part, torch.optim.Optimizer):
                _align_moments(part)
        torch.set_rng_state(_converted(state[_RANDOM]))
        return n_epochs

    def save(self, n_epochs: int) -> bool:
        """Keeps the state after so many epochs, as ``utils.checkpoint.save()`` does: when a checkpoint is due."""
        return checkpoint.save(self._state, n_epochs)

    def _state(self) -> Params:
        torch = importlib.import_module("torch")
        state = {
            name: part.getstate() if isinstance(part, random.Random) else _converted(part.state_dict())
            for name, part in self._parts.items()
        }
        return cast(Params, {**state, _RANDOM: _converted(torch.get_rng_state())})


class Best:
    """The best state of a network so far, a part of a training that watches a score."""

    def __init__(self, score: float) -> None:
        """
        Args:
            score: what any network is better than.
        """
        self.score, self.epoch = score, 0
        self.network: dict[str, object] | None = None
        """Its state; None when none was kept."""

    def keep(self, score: float, epoch: int, network: Part) -> None:
        """Keeps a copy of this network in the place of the former one."""
        self.score, self.epoch, self.network = score, epoch, copy.deepcopy(network.state_dict())

    def restore(self, network: Part) -> None:
        """Gives a network the state that was kept, if one was."""
        if self.network is not None:
            network.load_state_dict(self.network)

    def state_dict(self) -> dict[str, object]:
        return {"score": self.score, "epoch": self.epoch, "network": self.network}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        self.score, self.epoch = cast(float, state["score"]), cast(int, state["epoch"])
        self.network = cast("dict[str, object] | None", state["network"])


def _align_moments(optimizer: Part) -> None:
    """Arrays forget the order of channels in memory, and fused optimizers take that of the weights for granted."""
    torch = importlib.import_module("torch")
    for weight, moments in optimizer.state.items():  # type: ignore[attr-defined]  # torch's optimizers have it
        for name, moment in moments.items():
            if getattr(moment, "shape", None) == weight.shape:
                moments[name] = torch.empty_like(weight).copy_(moment)


def _converted(state: object) -> object:
    """A copy with arrays in the place of tensors, and tensors in the place of arrays."""
    import numpy as np

    torch = importlib.import_module("torch")
    match state:
        case dict():
            return {key: _converted(value) for key, value in state.items()}
        case list() | tuple():
            return type(state)(_converted(value) for value in state)
        case np.ndarray():
            return torch.from_numpy(state.copy())
    return state.detach().cpu().numpy().copy() if isinstance(state, torch.Tensor) else state

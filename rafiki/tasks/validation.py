"""Tasks whose predictions can be joined, and the examples on which their members are compared.

No numpy here at import: the admin and the predictor load every task's rules.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rafiki.tasks.base import TaskSpec, encode_json
from rafiki.utils.values import JsonValue

if TYPE_CHECKING:
    from rafiki.tasks.model_library import ModelLibrary
    from rafiki.utils.values import Array

    Packed = Mapping[str, Array]
    """The labels of the examples, and what a trial predicted for them."""

T = TypeVar("T")
_SEED = 0


class ValidationSample(NamedTuple):
    """Examples of a validation dataset: the same for every trial of a train job, in the order of the dataset."""

    queries: Sequence[object]
    """As :meth:`TaskSpec.decode_query` returns them."""
    labels: Sequence[object]
    """What the dataset says of each."""


class CombiningTask(TaskSpec):
    """A task whose members' predictions are joined with weights; any other task is answered by its best member."""

    metric: str
    """What :meth:`library` scores by: ``accuracy`` or ``R2``. Higher is better."""

    @abstractmethod
    def read_validation(
        self, val_path: Path, train_path: Path, train_args: Mapping[str, JsonValue], max_examples: int
    ) -> ValidationSample:
        """At most ``max_examples`` of the dataset at ``val_path``, drawn evenly; the same ones at every call.

        Args:
            val_path, train_path: what ``evaluate()`` and ``train()`` get; the latter has the classes.
            train_args: of the train job.
            max_examples: at least 1.

        Raises:
            InvalidDatasetError: when a dataset cannot be read.
        """

    def read_examples(
        self, val_path: Path, train_path: Path, train_args: Mapping[str, JsonValue], max_examples: int
    ) -> list[bytes]:
        sample = self.read_validation(val_path, train_path, train_args, max_examples)
        return [encode_json(query) for query in sample.queries]

    @abstractmethod
    def pack(self, labels: Sequence[object], predictions: Sequence[JsonValue]) -> Packed:
        """Labels and predictions as arrays, to be stored.

        Args:
            labels: those of a :class:`ValidationSample`.
            predictions: one for each, as decoded JSON.

        Raises:
            ModelPredictError: when the predictions do not fit together.
        """

    @abstractmethod
    def library(self, packed: Sequence[Packed]) -> ModelLibrary:
        """What several trials predicted for the same examples, the best trial first, ready to be combined.

        Raises:
            ValueError, KeyError: the arrays are not what :meth:`pack` returned for the same examples.
        """


def draw_evenly(items: Iterable[T], most: int) -> list[T]:
    """At most ``most`` of the items in their order, each with equal probability; the same ones at every call.

    Reservoir sampling: holds no more than it returns (Vitter 1985, "Random sampling with a reservoir", algorithm R).
    """
    rng = random.Random(_SEED)
    kept: list[tuple[int, T]] = []
    for i, item in enumerate(items):
        if i < most:
            kept.append((i, item))
        elif (place := rng.randrange(i + 1)) < most:
            kept[place] = (i, item)
    return [item for _, item in sorted(kept, key=lambda pair: pair[0])]

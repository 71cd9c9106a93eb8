"""Any task that Rafiki knows no format of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rafiki.tasks.base import TaskSpec
from rafiki.utils.values import JsonValue

if TYPE_CHECKING:
    from rafiki.utils.values import Array


class CustomTask(TaskSpec):
    """Datasets, queries and predictions pass through unchecked; the member with the best score answers."""

    def __init__(self, name: str) -> None:
        self.name = name

    def validate_dataset(self, path: Path) -> None:
        """Any file will do."""

    def decode_array(self, array: Array) -> object:
        """Lists of lists of its values, as JSON would bring them; NaN and infinities, which JSON lacks, stay."""
        value: object = array.tolist()
        return value

    def ensemble(self, predictions: list[JsonValue], weights: Sequence[float] | None = None) -> object:
        return predictions[0]

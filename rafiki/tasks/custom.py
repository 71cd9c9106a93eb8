"""Any task that Rafiki knows no format of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rafiki.tasks.base import TaskSpec
from rafiki.utils.values import JsonValue


class CustomTask(TaskSpec):
    """Datasets, queries and predictions pass through unchecked; the member with the best score answers."""

    def __init__(self, name: str) -> None:
        self.name = name

    def validate_dataset(self, path: Path) -> None:
        """Any file will do."""

    def ensemble(self, predictions: list[JsonValue], weights: Sequence[float] | None = None) -> object:
        return predictions[0]

"""What the meta store promises about datasets."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rafiki.entities import Dataset


class DatasetStore(ABC):
    """The records of datasets. The files themselves are in the data store, under ``store_id``."""

    @abstractmethod
    def create_dataset(
        self,
        *,
        user_id: str,
        name: str,
        task: str,
        size_bytes: int,
        sha256: str,
        store_id: str,
        dataset_id: str | None = None,
    ) -> Dataset:
        """Add a dataset; ``dataset_id`` defaults to a fresh id. Names need not be unique.

        Raises:
            InvalidUserError: there is no such user.
            InvalidDatasetError: ``dataset_id`` is taken.
        """

    @abstractmethod
    def get_dataset(self, dataset_id: str) -> Dataset:
        """The dataset.

        Raises:
            InvalidDatasetError: there is none with that id.
        """

    @abstractmethod
    def list_datasets(
        self, user_id: str, *, task: str | None = None, offset: int = 0, limit: int | None = None
    ) -> list[Dataset]:
        """The user's datasets (of one task), in order of creation."""

"""Datasets in SQL."""

from __future__ import annotations

from rafiki.entities import Dataset
from rafiki.errors import InvalidDatasetError, InvalidUserError
from rafiki.meta_store.base import DatasetStore
from rafiki.meta_store.sql.database import Parents, Refusals
from rafiki.meta_store.sql.records import Records
from rafiki.meta_store.sql.schema import datasets, users
from rafiki.utils.ids import new_id


class SqlDatasetStore(Records, DatasetStore):
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
        values = {
            "id": dataset_id or new_id(),
            "user_id": user_id,
            "name": name,
            "task": task,
            "size_bytes": size_bytes,
            "sha256": sha256,
            "store_id": store_id,
            "datetime_created": self._db.now(),
        }
        taken = InvalidDatasetError(f"There is a dataset with the id {dataset_id} already.")
        refusals = Refusals(
            unique={"pk_datasets": taken},
            parents=[Parents(users, [user_id], "user", InvalidUserError)],
        )
        return self._create(datasets, Dataset, values, refusals)

    def get_dataset(self, dataset_id: str) -> Dataset:
        return self._get(datasets, Dataset, dataset_id, "dataset", InvalidDatasetError)

    def list_datasets(
        self, user_id: str, *, task: str | None = None, offset: int = 0, limit: int | None = None
    ) -> list[Dataset]:
        where = [datasets.c.user_id == user_id]
        if task is not None:
            where.append(datasets.c.task == task)
        order = [datasets.c.datetime_created, datasets.c.id]
        return self._list(datasets, Dataset, where, order, offset, limit)

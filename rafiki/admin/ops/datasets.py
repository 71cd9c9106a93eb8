"""Datasets."""

from __future__ import annotations

import msgspec

from rafiki.admin.context import AdminContext
from rafiki.admin.operation import bind
from rafiki.contract.datasets import (
    CREATE_DATASET,
    GET_DATASET,
    GET_DATASETS,
    CreateDatasetRequest,
    DatasetCreatedView,
    DatasetRequest,
    DatasetView,
    ListDatasetsRequest,
)
from rafiki.data_store.base import StoredData
from rafiki.entities import Dataset, User
from rafiki.errors import InvalidDatasetError, InvalidRequestError
from rafiki.tasks.registry import get_task


def _view(d: Dataset) -> DatasetView:
    return DatasetView(
        id=d.id,
        name=d.name,
        task=d.task,
        datetime_created=d.datetime_created,
        size_bytes=d.size_bytes,
        sha256=d.sha256,
    )


def check_name(field: str, name: str) -> None:
    """Raises InvalidRequestError when a name is empty, too long, holds control characters or slashes, or is no name
    but a step in a path: clients take ``.`` and ``..`` out of a URL (RFC 3986, section 5.2.4)."""
    if not name.strip() or len(name) > 200 or "/" in name or not name.isprintable() or name in (".", ".."):
        raise InvalidRequestError(
            f"Field {field!r}: must have 1 to 200 printable characters and no slash, and be neither '.' nor '..'; "
            f"not {name[:80]!r}."
        )


def create_dataset(context: AdminContext, actor: User, request: CreateDatasetRequest) -> DatasetCreatedView:
    check_name("name", request.name)
    check_name("task", request.task)
    stored = _store(context, request)
    try:
        if stored.size_bytes == 0:
            raise InvalidDatasetError("The dataset is empty.")
        rules, path = get_task(request.task), context.datasets.get_path(stored.store_id)
        rules.validate_dataset(path)
        warnings = rules.find_oddities(path)
        dataset = context.store.datasets.create_dataset(
            user_id=actor.id, name=request.name, task=request.task,
            size_bytes=stored.size_bytes, sha256=stored.sha256, store_id=stored.store_id,
        )  # fmt: skip
    except BaseException:
        context.datasets.delete(stored.store_id)
        raise
    return DatasetCreatedView(**msgspec.structs.asdict(_view(dataset)), warnings=warnings)


def _store(context: AdminContext, request: CreateDatasetRequest) -> StoredData:
    if (request.dataset is None) == (request.dataset_url is None):
        raise InvalidRequestError("Give either the file in the field 'dataset', or 'dataset_url', and not both.")
    if request.dataset_url is None:
        assert request.dataset is not None
        return context.datasets.save(request.dataset.arrived)
    # Loaded on demand: few stacks fetch anything.
    from rafiki.admin.fetch import fetch

    settings = context.config.admin
    with fetch(
        request.dataset_url,
        timeout_s=settings.dataset_url_timeout_s,
        allow_private=settings.allow_private_dataset_urls,
    ) as chunks:
        return context.datasets.save(chunks)


def get_datasets(context: AdminContext, actor: User, request: ListDatasetsRequest) -> list[DatasetView]:
    return [_view(d) for d in reversed(context.store.datasets.list_datasets(actor.id, task=request.task))]


def get_dataset(context: AdminContext, actor: User, request: DatasetRequest) -> DatasetView:
    return _view(own_dataset(context, actor, request.dataset_id))


def own_dataset(context: AdminContext, actor: User, dataset_id: str) -> Dataset:
    """The actor's dataset; that of another user looks like none.

    Raises:
        InvalidDatasetError
    """
    dataset = context.store.datasets.get_dataset(dataset_id)
    if dataset.user_id != actor.id:
        raise InvalidDatasetError.not_found(
            f"You have no dataset {dataset_id!r}. List yours with `rafiki dataset list`."
        )
    return dataset


OPERATIONS = [
    bind(CREATE_DATASET, create_dataset),
    bind(GET_DATASETS, get_datasets),
    bind(GET_DATASET, get_dataset),
]

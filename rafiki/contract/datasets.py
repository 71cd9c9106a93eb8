"""Datasets."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.contract.endpoint import ALL_USERS, CHECK_TIMEOUT_S, AnyEndpoint, Audited, Endpoint, FilePart, RequestStruct


class CreateDatasetRequest(RequestStruct, frozen=True, kw_only=True):
    name: str
    task: str
    dataset: FilePart | None = None
    """The file; streamed."""
    dataset_url: str | None = None
    """Instead of the file: the admin fetches it (http or https)."""


class ListDatasetsRequest(RequestStruct, frozen=True, kw_only=True):
    task: str | None = None


class DatasetRequest(RequestStruct, frozen=True, kw_only=True):
    dataset_id: str


class DatasetView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    task: str
    datetime_created: datetime
    size_bytes: int
    """Of the file."""
    sha256: str
    """Of the file."""


class DatasetCreatedView(DatasetView, frozen=True, kw_only=True):
    warnings: list[str] = []
    """What its owner should know of it: classes without an image, for instance."""


CREATE_DATASET: Endpoint[CreateDatasetRequest, DatasetCreatedView] = Endpoint(
    name="create_dataset", method="POST", path="/datasets", request=CreateDatasetRequest, response=DatasetCreatedView,
    timeout_s=CHECK_TIMEOUT_S, roles=ALL_USERS, is_form=True,
    summary="Upload a dataset for a task, or have it fetched from a URL.",
    audited=Audited("dataset.create", ("name", "task", "id")),
)  # fmt: skip
GET_DATASETS: Endpoint[ListDatasetsRequest, list[DatasetView]] = Endpoint(
    name="get_datasets", method="GET", path="/datasets", request=ListDatasetsRequest, response=list[DatasetView],
    roles=ALL_USERS, summary="Your datasets, newest first.",
)  # fmt: skip
GET_DATASET: Endpoint[DatasetRequest, DatasetView] = Endpoint(
    name="get_dataset", method="GET", path="/datasets/{dataset_id}", request=DatasetRequest, response=DatasetView,
    roles=ALL_USERS, summary="One of your datasets.",
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [CREATE_DATASET, GET_DATASETS, GET_DATASET]

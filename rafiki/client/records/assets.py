"""Datasets, models and the environments of models."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from rafiki.client.contract_caller import Away
from rafiki.client.http_server import WATCH_PATIENCE_S, Progress
from rafiki.client.records.calls import Calls
from rafiki.constants import ExistingName, ModelAccessRight
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
from rafiki.contract.endpoint import Empty, FilePart
from rafiki.contract.environments import (
    CREATE_ENVIRONMENT,
    GET_ENVIRONMENT_LOG,
    GET_ENVIRONMENTS,
    REMOVE_ENVIRONMENT,
    WATCH_ENVIRONMENT,
    CreateEnvironmentRequest,
    EnvironmentEvent,
    EnvironmentLogView,
    EnvironmentRequest,
    EnvironmentStateView,
    EnvironmentView,
)
from rafiki.contract.models import (
    CHECK_MODEL,
    CREATE_MODEL,
    DELETE_MODEL,
    GET_AVAILABLE_MODELS,
    GET_MODEL,
    GET_MODEL_FILE,
    CreateModelRequest,
    ListModelsRequest,
    ModelCreatedView,
    ModelDeletedView,
    ModelRequest,
    ModelView,
)


class AssetCalls(Calls):
    """Calls about what is uploaded."""

    def create_dataset(
        self,
        name: str,
        task: str,
        dataset_path: Path | None = None,
        dataset_url: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> DatasetCreatedView:
        """Store a dataset: that of a file, or that which the admin fetches from a URL."""
        part = None if dataset_path is None else FilePart(str(dataset_path), dataset_path.name)
        request = CreateDatasetRequest(name=name, task=task, dataset=part, dataset_url=dataset_url)
        return self._call(CREATE_DATASET, request, progress)

    def get_datasets(self, task: str | None = None) -> list[DatasetView]:
        """Your datasets (of one task), newest first."""
        return self._call(GET_DATASETS, ListDatasetsRequest(task=task))

    def get_dataset(self, dataset_id: str) -> DatasetView:
        """One of your datasets."""
        return self._call(GET_DATASET, DatasetRequest(dataset_id=dataset_id))

    def create_model(
        self,
        name: str,
        task: str,
        model_file_path: Path,
        model_class: str,
        dependencies: Mapping[str, str] | None = None,
        access_right: ModelAccessRight = ModelAccessRight.PRIVATE,
        docker_image: str | None = None,
        *,
        existing_name: ExistingName = ExistingName.REFUSE,
    ) -> ModelCreatedView:
        """Upload a model template; with ``existing_name`` also as a new version of one that is there."""
        request = CreateModelRequest(
            name=name, task=task, model_class=model_class, access_right=access_right, docker_image=docker_image,
            model_file_bytes=FilePart(str(model_file_path), model_file_path.name),
            dependencies=dict(dependencies or {}), existing_name=existing_name,
        )  # fmt: skip
        return self._call(CREATE_MODEL, request)

    def get_model(self, model_id: str) -> ModelView:
        """One model."""
        return self._call(GET_MODEL, ModelRequest(model_id=model_id))

    def download_model_file(
        self, model_id: str, out_model_file_path: Path, *, progress: Progress | None = None
    ) -> ModelView:
        """Write the file of a model; returns the model."""
        request = ModelRequest(model_id=model_id)
        self._caller.call_to_file(GET_MODEL_FILE, request, out_model_file_path, progress=progress)
        return self.get_model(model_id)

    def get_model_file(self, model_id: str) -> bytes:
        """The file of a model."""
        return self._call(GET_MODEL_FILE, ModelRequest(model_id=model_id))

    def get_available_models(self, task: str | None = None, *, all_versions: bool = False) -> list[ModelView]:
        """Your own models and all public ones (of one task): of each its newest version, or all of them."""
        return self._call(GET_AVAILABLE_MODELS, ListModelsRequest(task=task, all_versions=all_versions))

    def check_model(self, model_id: str) -> ModelView:
        """Check again whether a model loads; returns it with what was found."""
        return self._call(CHECK_MODEL, ModelRequest(model_id=model_id))

    def delete_model(self, model_id: str) -> ModelDeletedView:
        """Delete a model that no train job refers to."""
        return self._call(DELETE_MODEL, ModelRequest(model_id=model_id))

    def get_environments(self) -> list[EnvironmentView]:
        """The installed sets of packages that models depend on."""
        return self._call(GET_ENVIRONMENTS, Empty())

    def get_environment_log(self, key: str) -> EnvironmentLogView:
        """What was said when an environment was built."""
        return self._call(GET_ENVIRONMENT_LOG, EnvironmentRequest(key=key))

    def create_environment(self, dependencies: Mapping[str, str]) -> EnvironmentStateView:
        """Begin to install packages, without waiting for the end."""
        return self._call(CREATE_ENVIRONMENT, CreateEnvironmentRequest(dependencies=dict(dependencies)))

    def watch_environment(
        self, key: str, *, patience_s: float = WATCH_PATIENCE_S, stop: threading.Event | None = None
    ) -> Iterator[EnvironmentEvent | Away]:
        """What the build of an environment says, until it has ended."""
        return self._watch(WATCH_ENVIRONMENT, EnvironmentRequest(key=key), patience_s=patience_s, stop=stop)

    def remove_environment(self, key: str) -> EnvironmentView:
        """Delete an environment that no live job uses; returns what it was."""
        return self._call(REMOVE_ENVIRONMENT, EnvironmentRequest(key=key))

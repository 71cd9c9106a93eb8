"""Datasets, models and the environments of models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from rafiki.client.calls import Calls
from rafiki.client.http_server import Progress
from rafiki.client.plain_answers import Json
from rafiki.constants import ExistingName, ModelAccessRight
from rafiki.contract import datasets, environments, models
from rafiki.contract.endpoint import FilePart
from rafiki.errors import InvalidRequestError


class AssetCalls(Calls):
    """Calls about what is uploaded."""

    def create_dataset(
        self,
        name: str,
        task: str,
        dataset_path: str | Path | None = None,
        dataset_url: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> Json:
        """Upload a dataset from a file of this machine, whatever its size: it is streamed.

        Args:
            dataset_path: the file, in the format of the task.
            dataset_url: instead of a file, an address from which the admin fetches it.
            progress: called with the bytes sent so far and in all.

        Raises:
            InvalidDatasetError: when the file is not what the task requires.
            InvalidRequestError: when no file is given or it cannot be read.
        """
        if (dataset_path is None) == (dataset_url is None):
            raise InvalidRequestError("Give either dataset_path or dataset_url.")
        if dataset_path is None:
            return self._one(datasets.CREATE_DATASET, name=name, task=task, dataset_url=dataset_url)
        part = FilePart(str(dataset_path), Path(dataset_path).name)
        return self._one(datasets.CREATE_DATASET, progress=progress, name=name, task=task, dataset=part)

    def get_datasets(self, task: str | None = None) -> list[Json]:
        """Your datasets (of one task), newest first."""
        return self._many(datasets.GET_DATASETS, task=task)

    def get_dataset(self, dataset_id: str) -> Json:
        """One of your datasets."""
        return self._one(datasets.GET_DATASET, dataset_id=dataset_id)

    def create_model(
        self,
        name: str,
        task: str,
        model_file_path: str | Path,
        model_class: str,
        dependencies: Mapping[str, str] | None = None,
        access_right: str | ModelAccessRight = ModelAccessRight.PRIVATE,
        docker_image: str | None = None,
        *,
        existing_name: str | ExistingName = ExistingName.REFUSE,
    ) -> Json:
        """Upload a model template.

        Args:
            model_file_path: the Python file.
            model_class: the class in it that derives from ``BaseModel``.
            dependencies: PyPI package -> version (``"1.4.2"``), range (``">=1.4"``) or ``""``. What is not there yet
                is installed before the call returns, which may take minutes; once for each distinct set.
            existing_name: what it means that you have a model of that name: ``"refuse"``, or ``"version"``: this is a
                new version of it, unless nothing differs from the newest one.

        Returns:
            ``id``, ``user_id``, ``name``, ``version``, ``is_new`` (False: the newest version was just like it) and
            ``load_error``: why the file does not load, None when it does.

        Raises:
            DuplicateModelNameError: when you have a model of that name and ask for no new version.
        """
        part = FilePart(str(model_file_path), Path(model_file_path).name)
        return self._one(
            models.CREATE_MODEL, name=name, task=task, model_class=model_class, model_file_bytes=part,
            dependencies=dict(dependencies or {}), access_right=str(access_right), docker_image=docker_image,
            existing_name=str(existing_name),
        )  # fmt: skip

    def get_model(self, model_id: str) -> Json:
        """One model: for its owner and admins."""
        return self._one(models.GET_MODEL, model_id=model_id)

    def download_model_file(
        self, model_id: str, out_model_file_path: str | Path, *, progress: Progress | None = None
    ) -> Json:
        """Write the file of a model to ``out_model_file_path``; returns the model."""
        request = models.ModelRequest(model_id=model_id)
        self._caller.call_to_file(models.GET_MODEL_FILE, request, Path(out_model_file_path), progress=progress)
        return self.get_model(model_id)

    def get_model_file(self, model_id: str) -> bytes:
        """The file of a model: for its owner and admins."""
        return cast(bytes, self._caller.call_plain(models.GET_MODEL_FILE, {"model_id": model_id}))

    def get_available_models(self, task: str | None = None, *, all_versions: bool = False) -> list[Json]:
        """Your own models and all public ones (of one task): of each its newest version, or all of them."""
        return self._many(models.GET_AVAILABLE_MODELS, task=task, all_versions=all_versions)

    def check_model(self, model_id: str) -> dict[str, object]:
        """Check again whether a model loads, with more time than at its upload; returns it with what was found."""
        return self._one(models.CHECK_MODEL, model_id=model_id)

    def delete_model(self, model_id: str) -> Json:
        """Delete a model that no train job refers to."""
        return self._one(models.DELETE_MODEL, model_id=model_id)

    def get_environments(self) -> list[Json]:
        """The installed sets of packages that models depend on; for others than admins, of models they can use."""
        return self._many(environments.GET_ENVIRONMENTS)

    def get_environment_log(self, key: str) -> Json:
        """``key`` and ``lines``: what was said when an environment was built."""
        return self._one(environments.GET_ENVIRONMENT_LOG, key=key)

    def create_environment(self, dependencies: Mapping[str, str]) -> Json:
        """Begin to install packages, as :meth:`create_model` does, without waiting for the end.

        Returns:
            ``key`` (None: all of them are there already), ``status`` (``READY``, ``BUILDING``, ``FAILED``), ``reason``.
        """
        return self._one(environments.CREATE_ENVIRONMENT, dependencies=dict(dependencies))

    def remove_environment(self, key: str) -> Json:
        """Delete an environment that no live job uses; returns what it was. It is built again when it is needed."""
        return self._one(environments.REMOVE_ENVIRONMENT, key=key)

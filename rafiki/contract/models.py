"""Model templates."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.constants import ModelAccessRight
from rafiki.contract.endpoint import (
    ALL_USERS,
    INSTALL_TIMEOUT_S,
    MODEL_DEVELOPERS,
    AnyEndpoint,
    Endpoint,
    FilePart,
    RequestStruct,
)
from rafiki.knob_specs import KnobSpecs


class CreateModelRequest(RequestStruct, frozen=True, kw_only=True):
    name: str
    task: str
    model_class: str
    model_file_bytes: FilePart
    """The Python file."""
    dependencies: dict[str, str] = {}
    """PyPI package -> version: exact (``1.4.2``), a range (``>=1.4,<2``) or empty."""
    access_right: ModelAccessRight = ModelAccessRight.PRIVATE
    """Whether all users may train it, or its owner alone."""
    docker_image: str | None = None
    """Recorded for back ends that run images."""


class ListModelsRequest(RequestStruct, frozen=True, kw_only=True):
    task: str | None = None


class ModelRequest(RequestStruct, frozen=True, kw_only=True):
    model_id: str


class ModelCreatedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    name: str
    load_error: str | None
    """Why the file does not load (it was accepted all the same); None when it does."""


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    name: str
    task: str
    model_class: str
    model_file_sha256: str
    datetime_created: datetime
    dependencies: dict[str, str]
    """PyPI package -> version."""
    access_right: ModelAccessRight
    """Whether all users may train it, or its owner alone."""
    docker_image: str | None
    """None when none was named."""
    knob_config: KnobSpecs | None
    """Name -> knob as JSON; None when the file does not load."""
    knob_constraints: list[str]
    """Expressions that the knobs of every trial satisfy."""
    load_error: str | None
    """Why the file does not load; None when it does."""


class ModelDeletedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    name: str


CREATE_MODEL: Endpoint[CreateModelRequest, ModelCreatedView] = Endpoint(
    name="create_model", method="POST", path="/models", request=CreateModelRequest, response=ModelCreatedView,
    timeout_s=INSTALL_TIMEOUT_S, roles=MODEL_DEVELOPERS, is_form=True,
    summary="Upload a model template. A file that does not load is accepted and reported in `load_error`.",
)  # fmt: skip
GET_AVAILABLE_MODELS: Endpoint[ListModelsRequest, list[ModelView]] = Endpoint(
    name="get_available_models", method="GET", path="/models/available", request=ListModelsRequest,
    response=list[ModelView], roles=ALL_USERS, summary="Your own models and all public ones.",
)  # fmt: skip
GET_MODEL: Endpoint[ModelRequest, ModelView] = Endpoint(
    name="get_model", method="GET", path="/models/{model_id}", request=ModelRequest, response=ModelView,
    roles=ALL_USERS, summary="One model: for its owner and admins.",
)  # fmt: skip
GET_MODEL_FILE: Endpoint[ModelRequest, bytes] = Endpoint(
    name="get_model_file", method="GET", path="/models/{model_id}/model_file", request=ModelRequest, response=bytes,
    roles=ALL_USERS, summary="The file of a model: for its owner and admins.",
)  # fmt: skip
DELETE_MODEL: Endpoint[ModelRequest, ModelDeletedView] = Endpoint(
    name="delete_model", method="DELETE", path="/models/{model_id}", request=ModelRequest, response=ModelDeletedView,
    roles=ALL_USERS, summary="Delete a model that no train job refers to.",
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [CREATE_MODEL, GET_AVAILABLE_MODELS, GET_MODEL, GET_MODEL_FILE, DELETE_MODEL]

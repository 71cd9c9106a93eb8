"""Model templates."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.constants import ExistingName, LoadFailure, ModelAccessRight
from rafiki.contract.endpoint import (
    ALL_USERS,
    INSTALL_TIMEOUT_S,
    MODEL_DEVELOPERS,
    AnyEndpoint,
    Audited,
    Endpoint,
    FilePart,
    RequestStruct,
)
from rafiki.knob_specs import KnobSpecs
from rafiki.utils.ids import model_ref


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
    """The image that its workers run in, in the place of the one of all workers, where workers run in images: it is
    tried, and what its name means is recorded. Where they are processes it is kept and not used."""
    existing_name: ExistingName = ExistingName.REFUSE
    """What it means that you have a model of that name: ``refuse``, or ``version``: this is a new version of it."""


class ListModelsRequest(RequestStruct, frozen=True, kw_only=True):
    task: str | None = None
    all_versions: bool = False
    """False = of each model its newest version."""


class ModelRequest(RequestStruct, frozen=True, kw_only=True):
    model_id: str


class ModelCreatedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    name: str
    version: int = 1
    """1, 2, 3 ... among your models of that name."""
    is_new: bool = True
    """False when the newest version is just like what was sent, so that nothing was made."""
    load_error: str | None
    """Why the file does not load (it was accepted all the same); None when it does."""
    notes: list[str] = []
    """What you should know of it besides."""

    @property
    def ref(self) -> str:
        """``wine@3``."""
        return model_ref(self.name, self.version)


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model."""

    id: str
    user_id: str
    name: str
    version: int = 1
    """1, 2, 3 ... among its owner's models of that name."""
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
    image_digest: str | None = None
    """What the image's name meant at the upload: workers run in that one. None where no worker runs in images."""
    knob_config: KnobSpecs | None
    """Name -> knob as JSON; None when the file does not load."""
    knob_constraints: list[str]
    """Expressions that the knobs of every trial satisfy."""
    load_error: str | None
    """Why the file does not load; None when it does."""
    load_failure: LoadFailure | None = None
    """The kind of that reason: ``file``; ``machine`` = it took too long or was killed; ``packages`` = what it depends
    on could not be installed. A job checks a model of the last two kinds again."""
    datetime_checked: datetime | None = None
    """When it was checked again; None when only its upload has checked it."""

    @property
    def ref(self) -> str:
        """``wine@3``."""
        return model_ref(self.name, self.version)


class ModelDeletedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    name: str
    version: int = 1
    """The one that is deleted; its number may be given again."""

    @property
    def ref(self) -> str:
        """``wine@3``."""
        return model_ref(self.name, self.version)


CREATE_MODEL: Endpoint[CreateModelRequest, ModelCreatedView] = Endpoint(
    name="create_model", method="POST", path="/models", request=CreateModelRequest, response=ModelCreatedView,
    timeout_s=INSTALL_TIMEOUT_S, roles=MODEL_DEVELOPERS, is_form=True,
    summary="Upload a model template. A file that does not load is accepted and reported in `load_error`.",
    audited=Audited("model.create", ("name", "version", "existing_name", "task", "access_right", "id")),
)  # fmt: skip
GET_AVAILABLE_MODELS: Endpoint[ListModelsRequest, list[ModelView]] = Endpoint(
    name="get_available_models", method="GET", path="/models/available", request=ListModelsRequest,
    response=list[ModelView], roles=ALL_USERS,
    summary="Your own models and all public ones: of each its newest version, or all of them.",
)  # fmt: skip
GET_MODEL: Endpoint[ModelRequest, ModelView] = Endpoint(
    name="get_model", method="GET", path="/models/{model_id}", request=ModelRequest, response=ModelView,
    roles=ALL_USERS, summary="One model: for its owner and admins.",
)  # fmt: skip
GET_MODEL_FILE: Endpoint[ModelRequest, bytes] = Endpoint(
    name="get_model_file", method="GET", path="/models/{model_id}/model_file", request=ModelRequest, response=bytes,
    roles=ALL_USERS, summary="The file of a model: for its owner and admins.",
)  # fmt: skip
CHECK_MODEL: Endpoint[ModelRequest, ModelView] = Endpoint(
    name="check_model", method="POST", path="/models/{model_id}/check", request=ModelRequest, response=ModelView,
    timeout_s=INSTALL_TIMEOUT_S, roles=ALL_USERS,
    summary="Check again whether a model loads, with more time than at its upload: for its owner and admins.",
)  # fmt: skip
DELETE_MODEL: Endpoint[ModelRequest, ModelDeletedView] = Endpoint(
    name="delete_model", method="DELETE", path="/models/{model_id}", request=ModelRequest, response=ModelDeletedView,
    roles=ALL_USERS, summary="Delete a model that no train job refers to.",
    audited=Audited("model.delete", ("model_id", "name", "version")),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [
    CREATE_MODEL,
    GET_AVAILABLE_MODELS,
    GET_MODEL,
    GET_MODEL_FILE,
    CHECK_MODEL,
    DELETE_MODEL,
]

"""Model templates."""

from __future__ import annotations

import contextlib
import hashlib

from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.operation import bind
from rafiki.admin.ops.datasets import check_name
from rafiki.constants import ExistingName, ModelAccessRight
from rafiki.container.base import CheckedImage
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
from rafiki.entities import Model, User
from rafiki.errors import (
    DuplicateModelNameError,
    InvalidImageError,
    InvalidModelError,
    InvalidRequestError,
    RequestTooLargeError,
)
from rafiki.utils.ids import VERSION_SIGN
from rafiki.utils.image_names import ImageName

_MOST_TRIES = 50
"""Each one that fails is a version that somebody else has made."""


def _view(m: Model) -> ModelView:
    return ModelView(
        id=m.id, user_id=m.user_id, name=m.name, version=m.version, task=m.task, model_class=m.model_class,
        model_file_sha256=m.model_file_sha256, datetime_created=m.datetime_created, dependencies=m.dependencies,
        access_right=m.access_right, docker_image=m.docker_image, image_digest=m.image_digest,
        knob_config=m.knob_config,
        knob_constraints=m.knob_constraints, load_error=m.load_error, load_failure=m.load_failure,
        datetime_checked=m.datetime_checked,
    )  # fmt: skip


def create_model(context: AdminContext, actor: User, request: CreateModelRequest) -> ModelCreatedView:
    _check_new_name(request.name)
    check_name("task", request.task)
    if not request.model_class.isidentifier():
        raise InvalidRequestError(f"Field 'model_class': {request.model_class[:80]!r} is no name of a Python class.")
    most = context.config.admin.max_model_file_mb * 1024 * 1024
    file = request.model_file_bytes.arrived.read(most + 1)
    if len(file) > most:
        raise RequestTooLargeError(f"The model file is larger than {most >> 20} MB (admin.max_model_file_mb).")
    if not file:
        raise InvalidModelError("The model file is empty.")
    sha256 = hashlib.sha256(file).hexdigest()
    image = _check_image(context, request.docker_image)
    # Asked before the file is loaded, which may take its time, and again before each attempt to store it.
    newest = context.store.models.find_newest_model(actor.id, request.name)
    _refuse_taken(newest, request)
    if newest is not None and _is_same(newest, request, sha256, image):
        # What kept it from loading may be gone.
        return _created_view(context.checks.check(newest) if newest.load_error else newest, is_new=False, image=image)
    file_name = request.model_file_bytes.file_name or f"{request.name}.py"
    reading = context.checks.read(file, request.model_class, request.dependencies, file_name)
    for _ in range(_MOST_TRIES):
        newest = context.store.models.find_newest_model(actor.id, request.name)
        _refuse_taken(newest, request)
        if newest is not None and _is_same(newest, request, sha256, image):
            return _created_view(newest, is_new=False, image=image)
        # Another upload may make this version at this moment; what it made is looked at, then.
        with contextlib.suppress(DuplicateModelNameError):
            model = context.store.models.create_model(
                user_id=actor.id, name=request.name, task=request.task, model_class=request.model_class,
                model_file=file, model_file_sha256=sha256, dependencies=request.dependencies,
                access_right=request.access_right, docker_image=request.docker_image,
                image_digest=image.digest, knob_config=reading.knob_config,
                knob_constraints=reading.constraints, load_error=reading.error,
                load_failure=reading.failure, version=newest.version + 1 if newest else 1,
            )  # fmt: skip
            return _created_view(model, is_new=True, image=image)
    raise DuplicateModelNameError(
        f"Others make versions of your model {request.name!r} all the time. Try again, or choose another name."
    )


def _check_image(context: AdminContext, name: str | None) -> CheckedImage:
    """
    Raises:
        InvalidImageError: the name is none, or no worker could run in the image.
    """
    if name is None:
        return CheckedImage()
    try:
        ImageName(name)
    except ValueError as e:
        raise InvalidImageError(f"Field 'docker_image': {e}") from e
    return context.containers.check_image(name)


def _created_view(model: Model, *, is_new: bool, image: CheckedImage) -> ModelCreatedView:
    return ModelCreatedView(
        id=model.id, user_id=model.user_id, name=model.name, version=model.version, is_new=is_new,
        load_error=model.load_error,
        notes=[f"docker_image {model.docker_image}: {image.note}"] if image.note else [],
    )  # fmt: skip


def _refuse_taken(newest: Model | None, request: CreateModelRequest) -> None:
    """Raises DuplicateModelNameError when the name is taken, and no version was asked for."""
    if newest is not None and request.existing_name is ExistingName.REFUSE:
        raise DuplicateModelNameError(
            f"You have a model named {request.name!r} already ({newest.ref}). Choose another name, delete that one, "
            "or ask for a new version of it (existing_name)."
        )


def _is_same(model: Model, request: CreateModelRequest, sha256: str, image: CheckedImage) -> bool:
    """Whether the model is just like what was sent, down to what its image's name means."""
    if image.digest is not None and image.digest != model.image_digest:
        return False
    sent = (sha256, request.model_class, request.task, request.dependencies, request.access_right, request.docker_image)
    return sent == (
        model.model_file_sha256, model.model_class, model.task, model.dependencies, model.access_right,
        model.docker_image,
    )  # fmt: skip


def _check_new_name(name: str) -> None:
    check_name("name", name)
    if VERSION_SIGN in name:
        raise InvalidRequestError(
            f"Field 'name': a new model's name holds no {VERSION_SIGN}, which stands before a version ({name[:80]!r}). "
            "The version is counted by itself."
        )


def get_available_models(context: AdminContext, actor: User, request: ListModelsRequest) -> list[ModelView]:
    found = available_models(context, actor, all_versions=request.all_versions)
    return [_view(m) for m in found if request.task in (None, m.task)]


def available_models(context: AdminContext, actor: User, *, all_versions: bool = False) -> list[Model]:
    """What the actor may train, in order of creation: of each model the newest version that is available, or all."""
    found = context.store.models.list_available_models(actor.id)
    if all_versions:
        return found
    newest: dict[tuple[str, str], Model] = {}
    for model in found:
        key = (model.user_id, model.name)
        if key not in newest or newest[key].version < model.version:
            newest[key] = model
    chosen = {model.id for model in newest.values()}
    return [model for model in found if model.id in chosen]


def get_model(context: AdminContext, actor: User, request: ModelRequest) -> ModelView:
    return _view(_own_model(context, actor, request.model_id))


def get_model_file(context: AdminContext, actor: User, request: ModelRequest) -> bytes:
    return context.store.models.read_model_file(_own_model(context, actor, request.model_id).id)


def check_model(context: AdminContext, actor: User, request: ModelRequest) -> ModelView:
    return _view(context.checks.check(_own_model(context, actor, request.model_id)))


def delete_model(context: AdminContext, actor: User, request: ModelRequest) -> ModelDeletedView:
    model = _own_model(context, actor, request.model_id)
    context.store.models.delete_model(model.id)
    return ModelDeletedView(id=model.id, user_id=model.user_id, name=model.name, version=model.version)


def _own_model(context: AdminContext, actor: User, model_id: str) -> Model:
    model = context.store.models.get_model(model_id)
    if model.user_id != actor.id and not is_admin(actor):
        raise InvalidModelError.not_found(f"You have no model {model_id!r}. List yours with `rafiki model list`.")
    return model


def usable_model(context: AdminContext, actor: User, model_id: str) -> Model:
    """A model that the actor may train: an own or a public one.

    Raises:
        InvalidModelError
    """
    model = context.store.models.get_model(model_id)
    if model.user_id != actor.id and model.access_right is not ModelAccessRight.PUBLIC and not is_admin(actor):
        raise InvalidModelError.not_found(
            f"No model {model_id!r} is available to you. List them with `rafiki model list`."
        )
    return model


OPERATIONS = [
    bind(CREATE_MODEL, create_model),
    bind(GET_AVAILABLE_MODELS, get_available_models),
    bind(GET_MODEL, get_model),
    bind(GET_MODEL_FILE, get_model_file),
    bind(CHECK_MODEL, check_model),
    bind(DELETE_MODEL, delete_model),
]

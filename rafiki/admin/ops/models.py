"""Model templates."""

from __future__ import annotations

import hashlib
import random

from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.operation import bind
from rafiki.admin.ops.datasets import check_name
from rafiki.advisor.space import SearchSpace
from rafiki.constants import ModelAccessRight
from rafiki.contract.models import (
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
from rafiki.environments.state import EnvironmentStatus
from rafiki.errors import (
    DuplicateModelNameError,
    InvalidModelError,
    InvalidRequestError,
    ModelError,
    RequestTooLargeError,
)
from rafiki.model.knobs import from_knob_specs
from rafiki.model_check.knob_reader import KnobReading, read_knob_config


def _view(m: Model) -> ModelView:
    return ModelView(
        id=m.id, user_id=m.user_id, name=m.name, task=m.task, model_class=m.model_class,
        model_file_sha256=m.model_file_sha256, datetime_created=m.datetime_created, dependencies=m.dependencies,
        access_right=m.access_right, docker_image=m.docker_image, knob_config=m.knob_config,
        knob_constraints=m.knob_constraints, load_error=m.load_error,
    )  # fmt: skip


def create_model(context: AdminContext, actor: User, request: CreateModelRequest) -> ModelCreatedView:
    check_name("name", request.name)
    check_name("task", request.task)
    if not request.model_class.isidentifier():
        raise InvalidRequestError(f"Field 'model_class': {request.model_class[:80]!r} is no name of a Python class.")
    most = context.config.admin.max_model_file_mb * 1024 * 1024
    file = request.model_file_bytes.arrived.read(most + 1)
    if len(file) > most:
        raise RequestTooLargeError(f"The model file is larger than {most >> 20} MB (admin.max_model_file_mb).")
    if not file:
        raise InvalidModelError("The model file is empty.")
    # Asked before the file is loaded, which may take its time; the store refuses it again should another come between.
    if any(
        m.user_id == actor.id and m.name == request.name for m in context.store.models.list_available_models(actor.id)
    ):
        raise DuplicateModelNameError(
            f"You have a model named {request.name!r} already. Choose another name or delete the old model."
        )
    reading = _read_knobs(context, request, file)
    model = context.store.models.create_model(
        user_id=actor.id, name=request.name, task=request.task, model_class=request.model_class, model_file=file,
        model_file_sha256=hashlib.sha256(file).hexdigest(), dependencies=request.dependencies,
        access_right=request.access_right, docker_image=request.docker_image,
        knob_config=reading.knob_config, knob_constraints=reading.constraints, load_error=reading.error,
    )  # fmt: skip
    return ModelCreatedView(id=model.id, user_id=model.user_id, name=model.name, load_error=model.load_error)


def _read_knobs(context: AdminContext, request: CreateModelRequest, file: bytes) -> KnobReading:
    """Read where the model's packages are; they are installed first when they are nowhere yet."""
    environment = context.environments.wait(request.dependencies)
    if environment.status is not EnvironmentStatus.READY:
        return KnobReading(error=environment.reason)
    file_name = request.model_file_bytes.file_name or f"{request.name}.py"
    reading = read_knob_config(
        file, request.model_class, file_name, timeout_s=context.config.admin.model_load_timeout_s,
        python=environment.python,
    )  # fmt: skip
    if reading.knob_config is not None and reading.constraints:
        try:
            SearchSpace(from_knob_specs(reading.knob_config), reading.constraints).draw(random.Random(0))
        except ModelError as e:
            return KnobReading(error=f"{file_name}: get_knob_constraints(): {e.message}")
    return reading


def get_available_models(context: AdminContext, actor: User, request: ListModelsRequest) -> list[ModelView]:
    return [_view(m) for m in context.store.models.list_available_models(actor.id, task=request.task)]


def get_model(context: AdminContext, actor: User, request: ModelRequest) -> ModelView:
    return _view(_own_model(context, actor, request.model_id))


def get_model_file(context: AdminContext, actor: User, request: ModelRequest) -> bytes:
    return context.store.models.read_model_file(_own_model(context, actor, request.model_id).id)


def delete_model(context: AdminContext, actor: User, request: ModelRequest) -> ModelDeletedView:
    model = _own_model(context, actor, request.model_id)
    context.store.models.delete_model(model.id)
    return ModelDeletedView(id=model.id, user_id=model.user_id, name=model.name)


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
    bind(DELETE_MODEL, delete_model),
]

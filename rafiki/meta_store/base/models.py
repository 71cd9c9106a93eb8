"""What the meta store promises about models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence

from rafiki.constants import LoadFailure, ModelAccessRight
from rafiki.entities import Model
from rafiki.knob_specs import KnobSpecs


class ModelStore(ABC):
    """Model templates and their files. What a model is never changes once it is created; what its latest check found
    does."""

    @abstractmethod
    def create_model(
        self,
        *,
        user_id: str,
        name: str,
        task: str,
        model_class: str,
        model_file: bytes,
        model_file_sha256: str,
        dependencies: Mapping[str, str],
        access_right: ModelAccessRight,
        docker_image: str | None = None,
        image_digest: str | None = None,
        knob_config: KnobSpecs | None = None,
        knob_constraints: Sequence[str] = (),
        load_error: str | None = None,
        load_failure: LoadFailure | None = None,
        version: int = 1,
    ) -> Model:
        """Add a version of a model together with its file. Of two callers that add the same one, one is refused.

        Raises:
            DuplicateModelNameError: the user has that version of a model of that name.
            InvalidUserError: there is no such user.
        """

    @abstractmethod
    def get_model(self, model_id: str) -> Model:
        """The model, without its file.

        Raises:
            InvalidModelError: there is none with that id.
        """

    @abstractmethod
    def get_models(self, model_ids: Collection[str]) -> dict[str, Model]:
        """Several models, by id. One read, however many.

        Raises:
            InvalidModelError: there is none with one of the ids.
        """

    @abstractmethod
    def find_newest_model(self, user_id: str, name: str) -> Model | None:
        """The newest version of the user's model of that name."""

    @abstractmethod
    def set_check(
        self,
        model_id: str,
        *,
        knob_config: KnobSpecs | None,
        knob_constraints: Sequence[str],
        load_error: str | None,
        load_failure: LoadFailure | None,
    ) -> Model:
        """Note what a new check of the model has found, and that it was made now.

        Raises:
            InvalidModelError: there is none with that id.
        """

    @abstractmethod
    def read_model_file(self, model_id: str) -> bytes:
        """The model's Python file.

        Raises:
            InvalidModelError: there is no model with that id.
        """

    @abstractmethod
    def list_available_models(
        self, user_id: str, *, task: str | None = None, offset: int = 0, limit: int | None = None
    ) -> list[Model]:
        """The user's own models and all public ones (of one task), in order of creation."""

    @abstractmethod
    def list_models(self, *, offset: int = 0, limit: int | None = None) -> list[Model]:
        """The models of all users, in order of creation."""

    @abstractmethod
    def delete_model(self, model_id: str) -> None:
        """Delete the model and its file. Of a deletion and the creation of a train job at once, one is
        refused.

        Raises:
            InvalidModelError: there is none with that id.
            ModelUsedError: a train job, live or not, refers to it.
        """

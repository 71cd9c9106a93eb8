"""Models in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, delete, select

from rafiki.constants import LoadFailure, ModelAccessRight
from rafiki.entities import Model
from rafiki.errors import DuplicateModelNameError, InvalidModelError, InvalidUserError, ModelUsedError
from rafiki.knob_specs import KnobSpecs
from rafiki.meta_store.base import ModelStore
from rafiki.meta_store.sql.database import Parents, Refusals, not_found
from rafiki.meta_store.sql.records import Records
from rafiki.meta_store.sql.schema import model_files, models, users
from rafiki.utils.ids import model_ref, new_id


class SqlModelStore(Records, ModelStore):
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
        values = {
            "id": new_id(),
            "user_id": user_id,
            "name": name,
            "version": version,
            "task": task,
            "model_class": model_class,
            "model_file_sha256": model_file_sha256,
            "dependencies": dependencies,
            "access_right": access_right,
            "docker_image": docker_image,
            "image_digest": image_digest,
            "knob_config": knob_config,
            "knob_constraints": list(knob_constraints),
            "load_error": load_error,
            "load_failure": load_failure,
            "datetime_created": self._db.now(),
        }
        taken = DuplicateModelNameError(f"You have a model {model_ref(name, version)!r} already.")
        refusals = Refusals(
            unique={"uq_models_user_id_name_version": taken},
            parents=[Parents(users, [user_id], "user", InvalidUserError)],
        )
        with self._db.write(refusals) as connection:
            model = self._insert(connection, models, Model, values)
            connection.execute(model_files.insert().values(model_id=model.id, contents=model_file))
        return model

    def get_model(self, model_id: str) -> Model:
        return self._get(models, Model, model_id, "model", InvalidModelError)

    def get_models(self, model_ids: Collection[str]) -> dict[str, Model]:
        found = self._list_of(models, Model, models.c.id, model_ids, [models.c.id])
        for model_id, rows in found.items():
            if not rows:
                raise not_found(InvalidModelError, "model", model_id)
        return {model_id: rows[0] for model_id, rows in found.items()}

    def find_newest_model(self, user_id: str, name: str) -> Model | None:
        where = [models.c.user_id == user_id, models.c.name == name]
        return next(iter(self._list(models, Model, where, [models.c.version.desc()], limit=1)), None)

    def set_check(
        self,
        model_id: str,
        *,
        knob_config: KnobSpecs | None,
        knob_constraints: Sequence[str],
        load_error: str | None,
        load_failure: LoadFailure | None,
    ) -> Model:
        values = {
            "knob_config": knob_config,
            "knob_constraints": list(knob_constraints),
            "load_error": load_error,
            "load_failure": load_failure,
            "datetime_checked": self._db.now(),
        }
        changed = self._update(models, Model, [models.c.id == model_id], values)
        if changed is None:
            raise not_found(InvalidModelError, "model", model_id)
        return changed

    def read_model_file(self, model_id: str) -> bytes:
        with self._db.read() as connection:
            wanted = select(model_files.c.contents).where(model_files.c.model_id == model_id)
            contents: bytes | None = connection.execute(wanted).scalar_one_or_none()
        if contents is None:
            raise not_found(InvalidModelError, "model", model_id)
        return contents

    def list_available_models(
        self, user_id: str, *, task: str | None = None, offset: int = 0, limit: int | None = None
    ) -> list[Model]:
        where: list[ColumnElement[bool]] = [
            (models.c.user_id == user_id) | (models.c.access_right == ModelAccessRight.PUBLIC)
        ]
        if task is not None:
            where.append(models.c.task == task)
        return self._list(models, Model, where, [models.c.datetime_created, models.c.id], offset, limit)

    def list_models(self, *, offset: int = 0, limit: int | None = None) -> list[Model]:
        return self._list(models, Model, [], [models.c.datetime_created, models.c.id], offset, limit)

    def delete_model(self, model_id: str) -> None:
        used = ModelUsedError(f"A train job refers to the model {model_id}, so it cannot be deleted.")
        # The foreign key of the sub train jobs is the check, so it also holds against a job created right
        # now.
        with self._db.write_once(Refusals(referred=used)) as connection:
            found = connection.execute(delete(models).where(models.c.id == model_id)).rowcount
        if not found:
            raise not_found(InvalidModelError, "model", model_id)

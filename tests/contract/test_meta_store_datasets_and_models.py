import msgspec
import pytest

from rafiki.constants import LoadFailure, ModelAccessRight
from rafiki.entities import User
from rafiki.errors import (
    DuplicateModelNameError,
    InvalidDatasetError,
    InvalidModelError,
    InvalidUserError,
    ModelUsedError,
)
from rafiki.knob_specs import CategoricalKnobSpec, FixedKnobSpec, FloatKnobSpec
from rafiki.utils.clock import utc_now

NOBODY = User(id="nobody", email="", password_hash="", user_type="ADMIN", datetime_created=utc_now())


def test_a_dataset_comes_back_as_it_was_created(store, given):
    dataset = given.dataset(given.user(), dataset_id="mine", size_bytes=5 * 2**40)
    assert store.datasets.get_dataset("mine") == dataset
    assert dataset.size_bytes == 5 * 2**40


def test_a_dataset_id_is_taken_once(given):
    user = given.user()
    given.dataset(user, dataset_id="mine")
    with pytest.raises(InvalidDatasetError, match="mine"):
        given.dataset(user, dataset_id="mine")


def test_datasets_are_listed_by_owner_and_task_in_order_of_creation(store, given):
    user = given.user()
    mine = [given.dataset(user, task=task) for task in ("A", "B", "A")]
    given.dataset(given.user())
    assert store.datasets.list_datasets(user.id) == mine
    assert store.datasets.list_datasets(user.id, task="A") == [mine[0], mine[2]]
    assert store.datasets.list_datasets(user.id, offset=1, limit=1) == [mine[1]]


def test_an_unknown_dataset_or_owner_is_refused(store, given):
    with pytest.raises(InvalidDatasetError, match="nothing"):
        store.datasets.get_dataset("nothing")
    with pytest.raises(InvalidUserError, match="nobody"):
        given.dataset(NOBODY)
    assert store.datasets.list_datasets("nobody") == []


def test_a_model_and_its_file_come_back_as_they_were_created(store, given):
    file = bytes(range(256)) * 300
    knobs = {"lr": FloatKnobSpec(1e-5, 0.1, True), "kind": CategoricalKnobSpec(["a", "ü"]), "on": FixedKnobSpec(True)}
    model = given.model(given.user(), model_file=file, knob_config=knobs, docker_image="a/b:1")
    assert store.models.get_model(model.id) == model
    assert model.knob_config == knobs
    assert (model.dependencies, model.load_error) == ({"numpy": "1.26"}, None)
    assert store.models.read_model_file(model.id) == file


def test_a_model_that_does_not_load_keeps_its_reason(store, given):
    model = given.model(given.user(), load_error="line 3: \0 is no name \udcff")
    assert model.knob_config is None
    assert store.models.get_model(model.id).load_error == "line 3: \ufffd is no name ?"


def test_a_model_name_is_unique_to_its_owner(store, given):
    user = given.user()
    model = given.model(user, name="tree")
    with pytest.raises(DuplicateModelNameError, match="tree"):
        given.model(user, name="tree")
    given.model(given.user(), name="tree")
    assert store.models.list_available_models(user.id) == [model]


def test_versions_of_a_model_are_each_taken_once_and_the_newest_is_found(store, given):
    user = given.user()
    first, third = given.model(user, name="wine"), given.model(user, name="wine", version=3)
    other = given.model(given.user(), name="wine", version=9)
    with pytest.raises(DuplicateModelNameError, match="wine@3"):
        given.model(user, name="wine", version=3)
    assert (first.version, third.version) == (1, 3)
    assert store.models.find_newest_model(user.id, "wine") == third
    assert store.models.find_newest_model(other.user_id, "wine") == other
    assert store.models.find_newest_model(user.id, "Wine") is None
    job = given.stopped_train_job(user, models=[first, third])
    assert [(s.model_name, s.model_version) for s in store.train_jobs.list_sub_train_jobs(job.id)] == [
        ("wine", 1), ("wine", 3)
    ]  # fmt: skip


def test_what_a_later_check_finds_is_kept_and_the_rest_of_the_model_stays(store, given):
    model = given.model(given.user(), load_error="too slow", load_failure=LoadFailure.MACHINE)
    assert (model.load_failure, model.datetime_checked) == (LoadFailure.MACHINE, None)
    knobs = {"on": FixedKnobSpec(True)}
    checked = store.models.set_check(
        model.id, knob_config=knobs, knob_constraints=["on == True"], load_error=None, load_failure=None
    )
    assert store.models.get_model(model.id) == checked
    assert checked.datetime_checked is not None
    changed = ("knob_config", "knob_constraints", "load_error", "load_failure", "datetime_checked")
    assert msgspec.structs.replace(checked, **{n: getattr(model, n) for n in changed}) == model
    with pytest.raises(InvalidModelError, match="nothing"):
        store.models.set_check("nothing", knob_config=None, knob_constraints=[], load_error="x", load_failure=None)


def test_own_and_public_models_are_available(store, given):
    user, other = given.user(), given.user()
    own = given.model(user, task="A")
    public = given.model(other, task="A", access_right=ModelAccessRight.PUBLIC)
    public_b = given.model(other, task="B", access_right=ModelAccessRight.PUBLIC)
    private = given.model(other, task="A")
    assert store.models.list_models() == [own, public, public_b, private]
    assert store.models.list_models(offset=1, limit=2) == [public, public_b]
    assert store.models.list_available_models(user.id) == [own, public, public_b]
    assert store.models.list_available_models(user.id, task="A") == [own, public]
    assert store.models.list_available_models(user.id, offset=1, limit=1) == [public]


def test_a_deleted_model_is_gone_with_its_file_and_frees_its_name(store, given, execute):
    user = given.user()
    model = given.model(user, name="tree")
    store.models.delete_model(model.id)
    assert execute("SELECT * FROM model_files") == []
    given.model(user, name="tree")


def test_a_model_that_a_train_job_refers_to_is_not_deleted(store, given):
    user = given.user()
    model = given.model(user)
    given.stopped_train_job(user, models=[model])
    with pytest.raises(ModelUsedError, match=model.id):
        store.models.delete_model(model.id)
    assert store.models.read_model_file(model.id)


@pytest.mark.parametrize("method", ["get_model", "read_model_file", "delete_model"])
def test_an_unknown_model_is_refused_by_id(store, method):
    with pytest.raises(InvalidModelError, match="nothing"):
        getattr(store.models, method)("nothing")


def test_a_model_of_an_unknown_user_is_refused(given):
    with pytest.raises(InvalidUserError, match="nobody"):
        given.model(NOBODY)

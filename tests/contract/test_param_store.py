"""What every store of parameters promises."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from support.stores.store_rooms import StoreRoom

from rafiki.errors import DamagedFileError, InvalidParamsError, InvalidTrialError, StoreFullError
from rafiki.param_store.base import ParamStore
from rafiki.param_store.codec import decode_params
from rafiki.store_location import StoreLocation
from rafiki.stores import open_param_store


@pytest.fixture
def param_store(store_room: StoreRoom) -> Iterator[ParamStore]:
    store = store_room.open_params()
    yield store
    store.close()


def test_what_is_saved_is_loaded(param_store: ParamStore) -> None:
    params_id = param_store.save({"weights": np.arange(6.0).reshape(2, 3), "epochs": 3, "name": "é"})
    loaded = param_store.load(params_id)
    assert loaded.pop("weights").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded == {"epochs": 3, "name": "é"}


def test_the_form_that_travels_is_a_safetensors_file(param_store: ParamStore) -> None:
    data = param_store.read_bytes(param_store.save({"weights": np.ones(2), "epochs": 3}))
    assert load_tensors(data)["weights"].tolist() == [1, 1]
    assert decode_params(data)["epochs"] == 3


def test_a_store_is_opened_elsewhere_by_its_location(param_store: ParamStore) -> None:
    params_id = param_store.save({"x": 1})
    travelled = msgspec.msgpack.decode(msgspec.msgpack.encode(param_store.location), type=StoreLocation)
    other = open_param_store(travelled)
    assert other.location == param_store.location
    assert other.load(params_id) == {"x": 1}
    other.delete(params_id)
    assert param_store.list_stored() == []


def test_parameters_are_listed_with_what_is_kept_beside_them(param_store: ParamStore) -> None:
    params_id = param_store.save({"x": 1})
    [plain] = param_store.list_stored()
    param_store.save_validation(params_id, {"labels": np.zeros(3)})
    [both] = param_store.list_stored()
    assert plain.id == both.id == params_id
    assert not both.is_half_written
    assert both.size_bytes > plain.size_bytes == len(param_store.read_bytes(params_id))


def test_damage_is_a_clear_error_that_names_the_parameters(param_store: ParamStore, store_room: StoreRoom) -> None:
    params_id = param_store.save({"weights": np.ones(100)})
    store_room.damage(params_id)
    for read in (param_store.load, param_store.read_bytes):
        with pytest.raises(DamagedFileError, match=params_id):
            read(params_id)


def test_a_full_store_says_so_and_nothing_stays(
    param_store: ParamStore, store_room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_room.fill_up(monkeypatch)
    with pytest.raises(StoreFullError, match=store_room.full_message):
        param_store.save({"x": 1})
    assert param_store.list_stored() == []


def test_refused_parameters_leave_nothing(param_store: ParamStore) -> None:
    with pytest.raises(InvalidParamsError, match="'x'"):
        param_store.save({"x": {1}})
    assert param_store.list_stored() == []


def test_deleted_parameters_are_gone_and_may_be_deleted_again(param_store: ParamStore) -> None:
    params_id = param_store.save({"x": 1})
    param_store.delete(params_id)
    param_store.delete(params_id)
    with pytest.raises(InvalidTrialError):
        param_store.load(params_id)


@pytest.mark.parametrize("params_id", ["", "..", "../../etc/passwd", "/etc/passwd", "0" * 36 + "." + "0" * 64])
def test_no_id_reaches_outside_the_store(param_store: ParamStore, params_id: str) -> None:
    with pytest.raises(InvalidTrialError):
        param_store.read_bytes(params_id)
    param_store.delete(params_id)


# ---- beside the parameters


def test_validation_predictions_stand_beside_their_parameters(param_store: ParamStore) -> None:
    params_id = param_store.save({"x": 1})
    assert param_store.find_validation(params_id) is None
    for labels in ([0, 1], [1, 1, 0]):
        param_store.save_validation(params_id, {"labels": np.array(labels, np.int32)})
        assert param_store.has_validation(params_id)
        found = param_store.find_validation(params_id)
        assert found is not None
        assert found["labels"].tolist() == labels
    assert param_store.load(params_id) == {"x": 1}
    param_store.delete_validation(params_id)
    param_store.delete_validation(params_id)
    assert not param_store.has_validation(params_id)
    assert param_store.load(params_id) == {"x": 1}


def test_validation_predictions_go_with_their_parameters(param_store: ParamStore) -> None:
    params_id = param_store.save({"x": 1})
    param_store.save_validation(params_id, {"labels": np.zeros(3)})
    param_store.delete(params_id)
    assert param_store.list_stored() == []
    with pytest.raises(InvalidTrialError):
        param_store.save_validation(params_id, {"labels": np.zeros(3)})


def test_too_many_validation_predictions_are_none(param_store: ParamStore) -> None:
    params_id = param_store.save({"x": 1})
    param_store.save_validation(params_id, {"labels": np.zeros(1000)})
    assert param_store.find_validation(params_id, max_bytes=1000) is None


@pytest.mark.parametrize("params_id", ["", "../../etc/passwd", "0" * 36 + "." + "0" * 64])
def test_no_id_of_validation_predictions_reaches_outside_the_store(param_store: ParamStore, params_id: str) -> None:
    assert param_store.find_validation(params_id) is None
    assert not param_store.has_validation(params_id)
    with pytest.raises(InvalidTrialError):
        param_store.save_validation(params_id, {"labels": np.zeros(3)})
    param_store.delete_validation(params_id)

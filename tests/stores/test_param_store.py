from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors

from rafiki.errors import DamagedFileError, InvalidParamsError, InvalidTrialError, StoreFullError
from rafiki.param_store.base import ParamStore
from rafiki.param_store.codec import decode_params


def test_what_is_saved_is_loaded(param_store: ParamStore) -> None:
    params_id = param_store.save({"weights": np.arange(6.0).reshape(2, 3), "epochs": 3, "name": "é"})
    loaded = param_store.load(params_id)
    assert loaded.pop("weights").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded == {"epochs": 3, "name": "é"}


def test_the_form_that_travels_is_a_safetensors_file(param_store: ParamStore) -> None:
    data = param_store.read_bytes(param_store.save({"weights": np.ones(2), "epochs": 3}))
    assert load_tensors(data)["weights"].tolist() == [1, 1]
    assert decode_params(data)["epochs"] == 3


def test_a_damaged_file_is_a_clear_error_that_names_it(param_store: ParamStore, tmp_path: Path) -> None:
    params_id = param_store.save({"weights": np.ones(100)})
    (path,) = (tmp_path / "params").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    for read in (param_store.load, param_store.read_bytes):
        with pytest.raises(DamagedFileError, match=str(path)):
            read(params_id)


def test_a_full_disk_is_named_and_nothing_stays(param_store: ParamStore, tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(StoreFullError, match="No space is left in"):
        param_store.save({"x": 1})
    assert list((tmp_path / "params").iterdir()) == []


def test_refused_parameters_leave_nothing(param_store: ParamStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidParamsError, match="'x'"):
        param_store.save({"x": None})
    assert list((tmp_path / "params").iterdir()) == []


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


def test_validation_predictions_go_with_their_parameters(param_store: ParamStore, tmp_path: Path) -> None:
    params_id = param_store.save({"x": 1})
    param_store.save_validation(params_id, {"labels": np.zeros(3)})
    param_store.delete(params_id)
    assert list((tmp_path / "params").iterdir()) == []
    with pytest.raises(InvalidTrialError):
        param_store.save_validation(params_id, {"labels": np.zeros(3)})


def test_damaged_or_too_many_validation_predictions_are_none(param_store: ParamStore, tmp_path: Path) -> None:
    params_id = param_store.save({"x": 1})
    param_store.save_validation(params_id, {"labels": np.zeros(1000)})
    assert param_store.find_validation(params_id, max_bytes=1000) is None
    (path,) = (tmp_path / "params").glob("*.validation")
    whole = path.read_bytes()
    for damaged in (whole[:-1], b"", whole[:40] + b"x" + whole[41:]):
        path.write_bytes(damaged)
        assert param_store.find_validation(params_id) is None


@pytest.mark.parametrize("params_id", ["", "../../etc/passwd", "0" * 36 + "." + "0" * 64])
def test_no_id_of_validation_predictions_reaches_outside_the_store(param_store: ParamStore, params_id: str) -> None:
    assert param_store.find_validation(params_id) is None
    assert not param_store.has_validation(params_id)
    with pytest.raises(InvalidTrialError):
        param_store.save_validation(params_id, {"labels": np.zeros(3)})
    param_store.delete_validation(params_id)

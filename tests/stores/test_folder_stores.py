"""Stores that are folders: the files that they write, and what they tell about them."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from rafiki.data_store.folder import FolderDataStore
from rafiki.errors import DamagedFileError, InvalidTrialError
from rafiki.param_store.folder import FolderParamStore


def test_parameters_are_listed_with_what_lies_beside_them(tmp_path: Path) -> None:
    store = FolderParamStore(tmp_path)
    assert store.list_stored() == []
    plain, with_validation = store.save({"x": 1}), store.save({"x": 2})
    store.save_validation(with_validation, {"labels": 3})
    (tmp_path / "notes.txt").write_text("not ours")
    found = {f.id: f for f in store.list_stored()}
    assert found.keys() == {plain, with_validation}
    files = [tmp_path / f"{with_validation}{ending}" for ending in (".safetensors", ".validation")]
    assert found[with_validation].size_bytes == sum(f.stat().st_size for f in files)
    assert found[plain].size_bytes == (tmp_path / f"{plain}.safetensors").stat().st_size
    assert not any(f.is_half_written for f in found.values())


def test_the_latest_change_of_what_lies_together_counts(tmp_path: Path) -> None:
    store = FolderParamStore(tmp_path)
    params_id = store.save({"x": 1})
    store.save_validation(params_id, {"labels": 3})
    os.utime(tmp_path / f"{params_id}.safetensors", (1_000, 1_000))
    os.utime(tmp_path / f"{params_id}.validation", (2_000, 2_000))
    [found] = store.list_stored()
    assert found.datetime_modified == datetime.fromtimestamp(2_000, UTC)


def test_what_a_writer_has_begun_is_listed_and_can_be_removed(tmp_path: Path) -> None:
    for store in (FolderParamStore(tmp_path / "params"), FolderDataStore(tmp_path / "datasets")):
        left = store.root / ".writing-0123"
        left.write_bytes(b"half")
        [found] = store.list_stored()
        assert (found.id, found.size_bytes, found.is_half_written) == (left.name, 4, True)
        store.delete_half_written(found.id)
        store.delete_half_written(found.id)
        assert not left.exists()


def test_only_half_written_files_are_removed_as_such(tmp_path: Path) -> None:
    outside = tmp_path / ".writing-outside"
    outside.write_text("")
    for store in (FolderParamStore(tmp_path / "params"), FolderDataStore(tmp_path / "datasets")):
        kept = store.root / "kept"
        kept.write_text("")
        for file_id in ("kept", "../.writing-outside", ".writing-/../../.writing-outside"):
            store.delete_half_written(file_id)
        assert kept.exists()
        assert outside.exists()


def test_a_dataset_is_one_file_of_the_folder_and_is_not_copied(tmp_path: Path) -> None:
    store = FolderDataStore(tmp_path)
    stored = store.save([b"whole"])
    assert list(tmp_path.iterdir()) == [store.get_path(stored.store_id)]


def test_parameters_that_cannot_be_read_are_told_with_what_to_do(tmp_path: Path) -> None:
    params = FolderParamStore(tmp_path)
    params_id = params.save({"x": 1})
    file = tmp_path / f"{params_id}.safetensors"
    file.unlink()
    file.mkdir()
    with pytest.raises(DamagedFileError, match=r"cannot be read: Is a directory\..*restore them from a backup"):
        params.load(params_id)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    datasets, params = FolderDataStore(tmp_path / "datasets"), FolderParamStore(tmp_path / "params")
    store_id, params_id = datasets.save([b"good"]).store_id, params.save({"x": 1})
    for path, read in (
        (tmp_path / "datasets" / store_id, lambda: datasets.verify(store_id)),
        (tmp_path / "params" / f"{params_id}.safetensors", lambda: params.load(params_id)),
    ):
        path.write_bytes(b"evil")
        with pytest.raises(DamagedFileError) as raised:
            read()
        assert path.stem in raised.value.message
        assert str(path.parent) in raised.value.message


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    writers = [FolderDataStore(tmp_path).writer() for _ in range(2)]
    for writer in writers:
        writer.write(b"half")
    old, fresh = sorted(tmp_path.iterdir())
    os.utime(old, (0, 0))
    stored = FolderDataStore(tmp_path).save([b"whole"])
    assert sorted(tmp_path.iterdir()) == sorted([fresh, tmp_path / stored.store_id])


def test_damaged_validation_predictions_are_none(tmp_path: Path) -> None:
    store = FolderParamStore(tmp_path)
    params_id = store.save({"x": 1})
    store.save_validation(params_id, {"labels": np.zeros(1000)})
    (path,) = tmp_path.glob("*.validation")
    whole = path.read_bytes()
    for damaged in (whole[:-1], b"", whole[:40] + b"x" + whole[41:]):
        path.write_bytes(damaged)
        assert store.find_validation(params_id) is None


def test_a_folder_that_was_deleted_under_its_store_is_made_again(tmp_path: Path) -> None:
    params, datasets = FolderParamStore(tmp_path / "params"), FolderDataStore(tmp_path / "datasets")
    gone = params.save({"x": 1})
    for name in ("params", "datasets"):
        shutil.rmtree(tmp_path / name)
    assert params.list_stored() == datasets.list_stored() == []
    with pytest.raises(InvalidTrialError, match=gone):
        params.load(gone)
    assert params.load(params.save({"x": 2})) == {"x": 2}
    assert datasets.get_path(datasets.save([b"data"]).store_id).read_bytes() == b"data"


def test_no_folder_above_a_store_is_made(tmp_path: Path) -> None:
    store = FolderParamStore(tmp_path / "stack" / "params")
    shutil.rmtree(tmp_path / "stack")
    with pytest.raises(FileNotFoundError):
        store.save({"x": 1})
    assert not (tmp_path / "stack").exists()

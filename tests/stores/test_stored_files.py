"""What stores tell about the files in their folders."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from rafiki.data_store.folder import FolderDataStore
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


def test_datasets_are_listed_under_their_ids(tmp_path: Path) -> None:
    store = FolderDataStore(tmp_path)
    stored = store.save([b"four"])
    [found] = store.list_stored()
    assert (found.id, found.size_bytes) == (stored.store_id, 4)

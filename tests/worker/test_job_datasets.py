"""A dataset that is deleted or damaged under a job: told before trials are spent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from rafiki.data_store.folder import FolderDataStore
from rafiki.errors import DamagedFileError, InvalidDatasetError, RafikiError
from rafiki.worker.datasets import JobDatasets


@pytest.fixture
def store(tmp_path: Path) -> FolderDataStore:
    return FolderDataStore(tmp_path / "datasets")


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "error", "told"),
    [
        (flip, DamagedFileError, "is damaged: its contents do not match"),
        (lambda path: os.truncate(path, 3), DamagedFileError, "is damaged"),
        (Path.unlink, InvalidDatasetError, "is gone"),
        (make_a_folder, InvalidDatasetError, "is gone"),
    ],
    ids=["flipped", "truncated", "deleted", "a folder"],
)
def test_harm_is_seen_at_the_next_look_and_named(
    store: FolderDataStore, harm: Callable[[Path], None], error: type[RafikiError], told: str
) -> None:
    ids = [store.save([data]).store_id for data in (b"for training", b"for validation")]
    datasets = JobDatasets(store, {ids[0]: "shop-train", ids[1]: "shop-val"})
    datasets.check()
    harm(store.get_path(ids[1]))
    with pytest.raises(error, match=f"The file of the dataset 'shop-val' {told}.*upload the dataset again"):
        datasets.check()


def test_a_file_is_read_once_until_it_changes(store: FolderDataStore) -> None:
    store_id = store.save([b"whole"]).store_id
    datasets = JobDatasets(store, {store_id: "d"})
    with mock.patch.object(store, "verify", wraps=store.verify) as verify:
        for _ in range(3):
            datasets.check()
        assert verify.call_count == 1
        os.utime(store.get_path(store_id), (1, 1))
        datasets.check()
        assert verify.call_count == 2

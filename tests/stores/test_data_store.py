import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rafiki.data_store.base import DataStore
from rafiki.data_store.folder import FolderDataStore
from rafiki.errors import DamagedFileError, InvalidDatasetError, RequestTooLargeError, StoreFullError

STRANGE_IDS = [
    "",
    "..",
    "../data",
    "/etc/passwd",
    "a" * 36,
    "0" * 36 + "." + "0" * 64,
    "x\0y",
    "0" * 36 + "./" + "0" * 63,
]


@pytest.mark.parametrize("chunks", [[b"ab", b"", b"cd"], io.BytesIO(b"abcd")], ids=["chunks", "file"])
def test_what_is_saved_is_found_again_with_its_size_and_checksum(data_store: DataStore, chunks: list[bytes]) -> None:
    stored = data_store.save(chunks)
    assert data_store.get_path(stored.store_id) == stored.path
    assert stored.path.read_bytes() == b"abcd"
    assert (stored.size_bytes, stored.sha256) == (4, hashlib.sha256(b"abcd").hexdigest())
    data_store.verify(stored.store_id)


def test_equal_contents_are_two_datasets(data_store: DataStore) -> None:
    first, second = data_store.save([b"x"]), data_store.save([b"x"])
    data_store.delete(first.store_id)
    assert data_store.get_path(second.store_id).read_bytes() == b"x"


def test_a_dataset_beyond_the_limit_is_refused_and_nothing_stays(data_store: DataStore, tmp_path: Path) -> None:
    with pytest.raises(RequestTooLargeError, match=r"1,200 bytes.* at most 1,000"):
        data_store.save([b"x" * 600, b"x" * 600])
    assert list((tmp_path / "data").iterdir()) == []


def test_a_reader_that_fails_in_the_middle_leaves_nothing(data_store: DataStore, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        data_store.save(chunks())
    assert list((tmp_path / "data").iterdir()) == []


def test_a_full_disk_is_named_and_nothing_stays(data_store: DataStore, tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(StoreFullError, match="No space is left in"):
        data_store.save([b"x"])
    assert list((tmp_path / "data").iterdir()) == []


def test_a_damaged_file_is_a_clear_error(data_store: DataStore) -> None:
    stored = data_store.save([b"good"])
    stored.path.write_bytes(b"evil")
    with pytest.raises(DamagedFileError, match=str(stored.path)):
        data_store.verify(stored.store_id)


def test_a_deleted_dataset_is_gone_and_may_be_deleted_again(data_store: DataStore) -> None:
    stored = data_store.save([b"x"])
    data_store.delete(stored.store_id)
    data_store.delete(stored.store_id)
    with pytest.raises(InvalidDatasetError):
        data_store.get_path(stored.store_id)


@pytest.mark.parametrize("store_id", STRANGE_IDS)
def test_no_id_reaches_outside_the_store(data_store: DataStore, store_id: str) -> None:
    for call in (data_store.get_path, data_store.verify):
        with pytest.raises(InvalidDatasetError):
            call(store_id)
    data_store.delete(store_id)


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    writers = [FolderDataStore(tmp_path).writer() for _ in range(2)]
    for writer in writers:
        writer.write(b"half")
    old, fresh = sorted(tmp_path.iterdir())
    os.utime(old, (0, 0))
    stored = FolderDataStore(tmp_path).save([b"whole"])
    assert sorted(tmp_path.iterdir()) == sorted([fresh, stored.path])

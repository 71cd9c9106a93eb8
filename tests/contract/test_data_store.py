"""What every store of datasets promises."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from support.stores.store_rooms import StoreRoom

from rafiki.data_store.base import DataStore
from rafiki.errors import DamagedFileError, InvalidDatasetError, RequestTooLargeError, StoreFullError
from rafiki.store_location import StoreLocation
from rafiki.stores import open_data_store

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


@pytest.fixture
def data_store(store_room: StoreRoom) -> Iterator[DataStore]:
    store = store_room.open_datasets()
    yield store
    store.close()


@pytest.mark.parametrize("form", ["chunks", "file"])
def test_what_is_saved_is_found_again_with_its_size_and_checksum(data_store: DataStore, form: str) -> None:
    stored = data_store.save([b"ab", b"", b"cd"] if form == "chunks" else io.BytesIO(b"abcd"))
    assert data_store.get_path(stored.store_id).read_bytes() == b"abcd"
    assert (stored.size_bytes, stored.sha256) == (4, hashlib.sha256(b"abcd").hexdigest())
    data_store.verify(stored.store_id)


def test_a_store_is_opened_elsewhere_by_its_location(data_store: DataStore) -> None:
    stored = data_store.save([b"abcd"])
    travelled = msgspec.msgpack.decode(msgspec.msgpack.encode(data_store.location), type=StoreLocation)
    other = open_data_store(travelled)
    assert other.location == data_store.location
    assert other.get_path(stored.store_id).read_bytes() == b"abcd"
    other.delete(stored.store_id)
    assert data_store.list_stored() == []


def test_many_threads_are_given_whole_copies_at_once(data_store: DataStore) -> None:
    stored = data_store.save([b"x" * 900])
    with ThreadPoolExecutor(8) as pool:
        contents = pool.map(lambda _: data_store.get_path(stored.store_id).read_bytes(), range(16))
        assert set(contents) == {b"x" * 900}


def test_a_copy_that_is_open_can_be_read_to_its_end_after_the_dataset_was_deleted(data_store: DataStore) -> None:
    stored = data_store.save([b"abcd"])
    with data_store.get_path(stored.store_id).open("rb") as copy:
        assert copy.read(2) == b"ab"
        data_store.delete(stored.store_id)
        assert copy.read() == b"cd"


def test_equal_contents_are_two_datasets(data_store: DataStore) -> None:
    first, second = data_store.save([b"x"]), data_store.save([b"x"])
    data_store.delete(first.store_id)
    assert data_store.get_path(second.store_id).read_bytes() == b"x"


def test_datasets_are_listed_under_their_ids(data_store: DataStore) -> None:
    stored = data_store.save([b"four"])
    [found] = data_store.list_stored()
    assert (found.id, found.size_bytes, found.is_half_written) == (stored.store_id, 4, False)


def test_what_is_being_written_is_listed_as_such_and_can_be_removed(data_store: DataStore) -> None:
    writer = data_store.writer()
    writer.write(b"half")
    for found in data_store.list_stored():  # A store may keep it where it cannot be listed.
        assert found.is_half_written
        data_store.delete_half_written(found.id)
        data_store.delete_half_written(found.id)
    assert data_store.list_stored() == []
    writer.abort()


def test_a_dataset_beyond_the_limit_is_refused_and_nothing_stays(data_store: DataStore) -> None:
    with pytest.raises(RequestTooLargeError, match=r"1,200 bytes.* at most 1,000"):
        data_store.save([b"x" * 600, b"x" * 600])
    assert data_store.list_stored() == []


def test_a_reader_that_fails_in_the_middle_leaves_nothing(data_store: DataStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        data_store.save(chunks())
    assert data_store.list_stored() == []


def test_a_full_store_says_so_and_nothing_stays(
    data_store: DataStore, store_room: StoreRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_room.fill_up(monkeypatch)
    with pytest.raises(StoreFullError, match=store_room.full_message):
        data_store.save([b"x"])
    assert data_store.list_stored() == []


def test_damage_is_a_clear_error(data_store: DataStore, store_room: StoreRoom) -> None:
    stored = data_store.save([b"good"])
    store_room.damage(stored.store_id)
    with pytest.raises(DamagedFileError, match=stored.store_id):
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

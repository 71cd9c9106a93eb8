"""Stores on S3: large objects, broken locations, keys, and what fails."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.stores.s3_server import S3Server

from rafiki.errors import ConfigError, UnreachableError
from rafiki.store_location import StoreLocation
from rafiki.stores import is_for_admin_alone, open_data_store, open_param_store
from rafiki.stores.remote.host_copies import COPIES_FOLDER_VARIABLE
from rafiki.stores.s3 import bucket


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "for-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for-tests")
    monkeypatch.setenv(COPIES_FOLDER_VARIABLE, str(tmp_path / "copies"))
    made = S3Server()
    yield made
    made.close()


def test_a_large_dataset_travels_in_parts_and_comes_back_whole(server: S3Server) -> None:
    data = random.Random(0).randbytes(17_000_000)
    store = open_data_store(server.location("datasets"))
    stored = store.save(data[i : i + 1_000_000] for i in range(0, len(data), 1_000_000))
    assert sum("partNumber" in request for request in server.requests) > 1
    assert stored.size_bytes == len(data)
    assert store.get_path(stored.store_id).read_bytes() == data
    # The copy on this host is used again.
    n_requests = len(server.requests)
    store.get_path(stored.store_id)
    assert not any(request.startswith("GET") for request in server.requests[n_requests:])
    store.verify(stored.store_id)


def test_large_parameters_come_back(server: S3Server) -> None:
    store = open_param_store(server.location("params"))
    weights = np.random.default_rng(0).normal(size=1_500_000)
    np.testing.assert_array_equal(store.load(store.save({"weights": weights}))["weights"], weights)


def test_two_stores_of_one_bucket_see_their_own(server: S3Server) -> None:
    first, second = (open_param_store(server.location(prefix)) for prefix in ("a", "a/b"))
    params_id = first.save({"x": 1})
    assert second.list_stored() == []
    other = second.save({"x": 2})
    assert [file.id for file in first.list_stored()] == [params_id]
    assert [file.id for file in second.list_stored()] == [other]


@pytest.mark.parametrize(
    "url", ["s3://", "s3://user:password@bucket", "s3://bucket?secret=x", "s3://bucket?endpoin=http://h"]
)
def test_a_location_that_is_wrong_says_how_it_is_written(url: str) -> None:
    with pytest.raises(ConfigError, match="s3://bucket/prefix") as caught:
        open_param_store(StoreLocation(url=url))
    assert "password" not in str(caught.value)


def test_keys_come_from_a_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: S3Server) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    location = StoreLocation(url=server.location("params").url + "&profile=work")
    with pytest.raises(ConfigError, match="no keys of a profile 'work'"):
        open_param_store(location)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[work]\naws_access_key_id = a\naws_secret_access_key = b\n")
    store = open_param_store(location)
    assert store.load(store.save({"x": 1})) == {"x": 1}


def test_a_bucket_that_is_not_there_is_told(server: S3Server) -> None:
    url = server.location("params").url.replace("rafiki-tests", "other")
    store = open_param_store(StoreLocation(url=url))
    for use in (store.list_stored, lambda: store.save({"x": 1})):
        with pytest.raises(UnreachableError, match=r"s3://other/params.*there is no such bucket"):
            use()


def test_a_server_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch, server: S3Server) -> None:
    monkeypatch.setattr(bucket, "_RETRY_FOR_S", 1)
    location = server.location("params")
    server.close()
    with pytest.raises(UnreachableError, match="s3://rafiki-tests/params"):
        open_param_store(location).list_stored()
    server.__init__()  # type: ignore[misc]  # so that the fixture closes one


def test_only_the_admin_reaches_it() -> None:
    assert is_for_admin_alone(StoreLocation(url="s3://bucket/params"))
    assert not is_for_admin_alone(StoreLocation(url="folder:///data"))

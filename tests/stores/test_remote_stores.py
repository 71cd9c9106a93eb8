"""Stores over HTTP: transfers that break off, an admin that is away, copies that processes of a host share, rights."""

from __future__ import annotations

import errno
import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from support.http.threaded_server import ThreadedServer

from rafiki.data_store.folder import FolderDataStore
from rafiki.errors import ConfigError, DamagedFileError, StoreFullError, UnauthorizedError, UnreachableError
from rafiki.param_store.base import new_params_id
from rafiki.param_store.codec import encode_params
from rafiki.param_store.folder import FolderParamStore
from rafiki.store_location import StoreLocation
from rafiki.stores.remote.connection import RemoteConnection
from rafiki.stores.remote.data_store import RemoteDataStore
from rafiki.stores.remote.host_copies import HostCopies
from rafiki.stores.remote.param_store import RemoteParamStore
from rafiki.stores.remote.server import StoreServer

_NO = UnauthorizedError("This service may not do that.")


class Rights:
    """Of one service: what it may touch is listed."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)

    def _check(self, what: str) -> None:
        if what not in self.allowed and "all" not in self.allowed:
            raise _NO

    def read_dataset(self, store_id: str) -> None:
        self._check(store_id)

    def read_params(self, params_id: str) -> None:
        self._check(params_id)

    def write_params(self, params_id: str) -> None:
        self._check("write")

    def note_written(self, params_id: str) -> None: ...

    def confirm_params(self, params_id: str) -> None:
        self._check("write")

    def write_validation(self, params_id: str) -> None:
        self._check("validation")

    def delete_params(self, params_id: str) -> None:
        self._check("delete")

    def manage(self) -> None:
        self._check("manage")


class Flaky:
    """Between a server and its callers: counts requests, and breaks the bodies of answers off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.breaks: list[int] = []
        """After how many bytes each of the next answers breaks off."""
        self.n_served: dict[str, int] = {}
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._lock:
            key = f"{scope.get('method')} {scope.get('path')}"
            self.n_served[key] = self.n_served.get(key, 0) + 1
            limit = self.breaks.pop(0) if self.breaks and scope.get("method") == "GET" else None
        sent = 0

        async def cut(message: Message) -> None:
            nonlocal sent
            if limit is not None and message["type"] == "http.response.body":
                body = message.get("body", b"")[: limit - sent]
                sent += len(body)
                await send({**message, "body": body, "more_body": True})
                if sent >= limit:
                    raise ConnectionAbortedError
                return
            await send(message)

        await self._app(scope, receive, cut)


class Served:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.datasets = FolderDataStore(folder / "datasets")
        self.params = FolderParamStore(folder / "params")
        self.rights = Rights("all")
        stores = StoreServer(self.datasets, self.params, lambda _: self.rights, is_managed=True)
        self.flaky = Flaky(Starlette(routes=stores.routes()))
        self.server = ThreadedServer(self.flaky)
        self.location = StoreLocation(url=f"{self.server.url}/stores", credential="t")

    def copies(self, max_bytes: int | None = None) -> HostCopies:
        return HostCopies(self.folder / "copies", max_bytes)

    def remote(self, max_bytes: int | None = None) -> RemoteDataStore:
        return RemoteDataStore(self.location, copies=self.copies(max_bytes))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    it = Served(tmp_path)
    yield it
    it.server.close()


def test_a_transfer_that_breaks_off_goes_on_where_it_was(served: Served) -> None:
    data = bytes(range(256)) * 20_000
    store_id = served.datasets.save([data]).store_id
    served.flaky.breaks = [1_000_000, 3_000_000]
    assert served.remote().get_path(store_id).read_bytes() == data
    assert served.flaky.n_served[f"GET /stores/datasets/{store_id}"] == 3


def test_all_processes_of_a_host_fetch_a_dataset_once(served: Served) -> None:
    data = b"x" * 5_000_000
    store_id = served.datasets.save([data]).store_id
    paths: list[Path] = []
    users = [served.remote() for _ in range(6)]
    threads = [
        threading.Thread(target=lambda user=user: paths.append(user.get_path(store_id)), daemon=True)
        for user in (*users, *users)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    paths.append(served.remote().get_path(store_id))  # while the others use it
    assert len(set(paths)) == 1 and len(paths) == 13
    assert paths[0].read_bytes() == data
    assert served.flaky.n_served[f"GET /stores/datasets/{store_id}"] == 1


def test_what_is_not_used_goes_when_space_is_needed_and_what_is_used_stays(served: Served) -> None:
    first, second, third = (served.datasets.save([bytes([i]) * 400]).store_id for i in range(3))
    user, other = served.remote(1000), served.remote(1000)
    kept = user.get_path(first)
    idle = other.get_path(second)
    other.close()
    assert served.remote(1000).get_path(third).exists()
    assert kept.exists()
    assert not idle.exists()
    with pytest.raises(StoreFullError, match="in use"):
        served.remote(1000).get_path(served.datasets.save([b"9" * 900]).store_id)


def test_a_dataset_that_was_damaged_there_is_not_given_out_and_leaves_nothing(served: Served) -> None:
    store_id = served.datasets.save([b"good"]).store_id
    (served.folder / "datasets" / store_id).write_bytes(b"evil")
    with pytest.raises(DamagedFileError, match=store_id):
        served.remote().get_path(store_id)
    assert [p.name for p in (served.folder / "copies").iterdir() if not p.name.endswith(".lock")] == []


def test_a_full_disk_of_the_admin_is_told_as_one(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # Where what comes in is kept until it is whole.
    monkeypatch.setattr(tempfile, "TemporaryFile", no_space)
    with pytest.raises(StoreFullError, match="No space is left"):
        RemoteParamStore(served.location).save({"x": "1" * (1 << 20)})


def test_an_answer_that_is_none_of_rafiki_is_asked_for_again() -> None:
    """An admin that ends at this moment answers 500 in words of its server."""
    asked = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        status = 500 if len(asked) == 1 else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Internal Server Error"})

    server = ThreadedServer(app)
    try:
        answer = RemoteConnection(StoreLocation(url=f"{server.url}/stores")).request("GET", "params/p")
    finally:
        server.close()
    assert answer == b"Internal Server Error"
    assert len(asked) == 2


def test_parameters_that_are_sent_twice_are_stored_once(served: Served) -> None:
    data = encode_params({"x": 1})
    params_id = new_params_id(data)
    remote = RemoteParamStore(served.location)
    remote.put(params_id, [data])
    remote.put(params_id, [data[:10], data[10:]])
    assert [s.id for s in served.params.list_stored()] == [params_id]
    assert remote.load(params_id) == {"x": 1}


def test_parameters_that_are_damaged_on_their_way_are_refused_and_leave_nothing(served: Served) -> None:
    params_id = new_params_id(b"what was to be sent")
    with pytest.raises(DamagedFileError, match="on their way"):
        RemoteParamStore(served.location).put(params_id, [b"what came"])
    assert served.params.list_stored() == []


def test_an_admin_that_is_away_is_waited_for(served: Served) -> None:
    store_id = served.datasets.save([b"abc"]).store_id
    port = served.server.port
    served.server.close()
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(served.remote().get_path(store_id).read_bytes()))
    thread.start()
    served.server = ThreadedServer(served.flaky, port)
    thread.join(60)
    assert found == [b"abc"]


def test_an_admin_that_stays_away_is_given_up(served: Served) -> None:
    served.server.close()
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1.* has not answered for 0.2 s"):
        RemoteConnection(served.location, patience_s=0.2).request("GET", "datasets")


@pytest.mark.parametrize("url", ["http:///stores", "http://u:p@h:1/stores", "http://h:1/stores?x=1", "ftp://h/x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="write the address of an admin's stores"):
        RemoteConnection(StoreLocation(url=url))


def test_a_service_does_what_it_may_and_nothing_else(served: Served) -> None:
    mine, other = (served.datasets.save([name]).store_id for name in (b"mine", b"another's"))
    data = encode_params({"x": 1})
    params_id, foreign = new_params_id(data), served.params.save({"secret": 1})
    served.rights = Rights(mine, "write")
    datasets, params = served.remote(), RemoteParamStore(served.location)
    assert datasets.get_path(mine).read_bytes() == b"mine"
    params.put(params_id, [data])
    refused: list[Callable[[], object]] = [
        lambda: datasets.get_path(other),
        lambda: datasets.delete(mine),
        lambda: datasets.save([b"new"]),
        lambda: datasets.verify(mine),
        datasets.list_stored,
        lambda: params.read_bytes(foreign),
        lambda: params.find_validation(foreign),
        lambda: params.put_validation(params_id, b""),
        lambda: params.delete(params_id),
        params.list_stored,
    ]
    for action in refused:
        with pytest.raises(UnauthorizedError, match="may not do that"):
            action()
    assert {s.id for s in served.params.list_stored()} == {params_id, foreign}
    assert hashlib.sha256(served.datasets.get_path(mine).read_bytes()).hexdigest() in mine


def test_a_copy_of_an_earlier_boot_is_compared_with_its_checksum(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A power cut may leave a copy that has its name and not its contents."""
    boot = tmp_path / "boot_id"
    monkeypatch.setattr("rafiki.stores.remote.host_copies._BOOT_ID", boot)
    boot.write_bytes(b"first")
    store_id = served.datasets.save([b"good"]).store_id
    request = f"GET /stores/datasets/{store_id}"
    path = served.remote().get_path(store_id)
    served.remote().get_path(store_id)
    assert served.flaky.n_served[request] == 1
    boot.write_bytes(b"second")
    served.remote().get_path(store_id)
    assert served.flaky.n_served[request] == 1
    boot.write_bytes(b"third")
    path.write_bytes(bytes(4))
    assert served.remote().get_path(store_id).read_bytes() == b"good"
    assert served.flaky.n_served[request] == 2

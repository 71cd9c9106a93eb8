"""Bytes that travel between workers and a bucket directly: signed by the admin, checked by it, around it where not."""

from __future__ import annotations

import hashlib
import http.client
import logging
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from support.http.threaded_server import ThreadedServer
from support.stores.s3_server import S3Server, refusal
from support.stores.store_rooms import AllRights

from rafiki.errors import DamagedFileError, InvalidTrialError, RafikiError, UnauthorizedError, UnreachableError
from rafiki.param_store.base import new_params_id
from rafiki.param_store.codec import encode_params
from rafiki.signed_request import SignedRequest
from rafiki.store_location import StoreLocation
from rafiki.stores import open_data_store, open_param_store
from rafiki.stores.remote.data_store import RemoteDataStore
from rafiki.stores.remote.host_copies import HostCopies
from rafiki.stores.remote.param_store import RemoteParamStore
from rafiki.stores.remote.server import StoreServer
from rafiki.stores.s3.address import parse_address
from rafiki.utils.process import COPIES_FOLDER_VARIABLE


class Rights(AllRights):
    """Of a worker; it remembers what it has shown to be its own."""

    def __init__(self) -> None:
        self.written: set[str] = set()

    def note_written(self, params_id: str) -> None:
        self.written.add(params_id)

    def confirm_params(self, params_id: str) -> None:
        if params_id not in self.written:
            raise UnauthorizedError("This service has not begun this upload.")


class Cluster:
    """A bucket, an admin that serves it, and a worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.s3 = S3Server()
        self.rights = Rights()
        self.n_bytes_through_admin = 0
        self._open(self.s3.location("data").url)

    def _open(self, url: str, *, is_direct: bool = True) -> None:
        self.datasets = open_data_store(StoreLocation(url=url))
        self.params = open_param_store(StoreLocation(url=url.replace("/data?", "/params of all?").replace(" ", "%20")))
        self._serve(is_direct=is_direct)

    def _serve(self, *, is_direct: bool) -> None:
        app = Starlette(
            routes=StoreServer(self.datasets, self.params, lambda _: self.rights, is_direct=is_direct).routes()
        )

        async def count(scope: Any, receive: Any, send: Any) -> None:
            async def counted_receive() -> Any:
                message = await receive()
                self.n_bytes_through_admin += len(message.get("body", b""))
                return message

            async def counted_send(message: Any) -> None:
                self.n_bytes_through_admin += len(message.get("body", b""))
                await send(message)

            await app(scope, counted_receive, counted_send)

        self.admin = ThreadedServer(count)
        location = StoreLocation(url=f"{self.admin.url}/stores", credential="t")
        self.worker_datasets = RemoteDataStore(location, copies=HostCopies(self.folder / "worker"))
        self.worker_params = RemoteParamStore(location)

    def reopen(self, *, options: str = "", is_direct: bool = True) -> None:
        self.admin.close()
        self._open(self.s3.location("data").url + options, is_direct=is_direct)

    def close(self) -> None:
        self.admin.close()
        self.s3.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cluster]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "for-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for-tests")
    monkeypatch.setenv(COPIES_FOLDER_VARIABLE, str(tmp_path / "admin"))
    made = Cluster(tmp_path)
    yield made
    made.close()


DATA = random.Random(0).randbytes(3_000_000)


def params_of(data: bytes) -> tuple[str, bytes]:
    encoded = encode_params({"weights": data})
    return new_params_id(encoded), encoded


def send(request: SignedRequest, body: bytes) -> tuple[int, bytes]:
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    connection.request(request.method, f"{parts.path}?{parts.query}", body or None, request.headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_datasets_and_parameters_travel_past_the_admin(cluster: Cluster) -> None:
    store_id = cluster.datasets.save([DATA]).store_id
    assert cluster.worker_datasets.get_path(store_id).read_bytes() == DATA
    params_id, encoded = params_of(DATA)
    cluster.worker_params.put(params_id, [encoded[:1000], encoded[1000:]])
    assert cluster.params.read_bytes(params_id) == encoded
    assert cluster.worker_params.read_bytes(params_id) == encoded
    assert cluster.n_bytes_through_admin < 10_000
    methods = [method for method, _ in cluster.s3.signed]
    assert methods.count("GET") == 2 and methods.count("PUT") == 1
    # Nothing but what was stored is there: the copy is on the worker's host alone.
    assert len(cluster.s3.keys()) == 2


def test_a_transfer_that_breaks_off_goes_on_with_another_signature(cluster: Cluster) -> None:
    store_id = cluster.datasets.save([DATA]).store_id
    urls: list[str] = []
    sign = cluster.datasets.sign_read

    def sign_badly(wanted: str) -> SignedRequest | None:
        signed = sign(wanted)
        assert signed is not None
        urls.append(signed.url)
        return SignedRequest(method="GET", url=signed.url + "0") if len(urls) == 1 else signed

    cluster.datasets.sign_read = sign_badly  # type: ignore[method-assign]
    assert cluster.worker_datasets.get_path(store_id).read_bytes() == DATA
    assert len(urls) == 2
    assert cluster.n_bytes_through_admin < 10_000


def test_a_signed_upload_is_of_one_object_of_one_size_with_one_checksum(cluster: Cluster) -> None:
    params_id, encoded = params_of(b"mine")
    other_id, _ = params_of(b"other")
    request = cluster.params.sign_write(params_id, len(encoded))
    assert request is not None
    query = parse_qs(urlsplit(request.url).query)
    assert int(query["X-Amz-Expires"][0]) <= 300
    assert "for-tests" not in request.url.replace("Credential=for-tests", "") and "for-tests" not in repr(request)
    evil = bytes(len(encoded))
    longer = {**request.headers, "Content-Length": str(len(encoded) + 1)}
    unchecked = {k: v for k, v in request.headers.items() if not k.startswith("x-amz")}
    elsewhere = request.url.replace(params_id, other_id)
    for status, text in (
        send(request, evil),
        send(SignedRequest(method="PUT", url=request.url, headers=longer), encoded + b"x"),
        send(SignedRequest(method="PUT", url=request.url, headers=unchecked), evil),
        send(SignedRequest(method="PUT", url=elsewhere, headers=request.headers), encoded),
        send(SignedRequest(method="GET", url=request.url), b""),
        send(SignedRequest(method="DELETE", url=request.url), b""),
    ):
        assert status == 403, text
    assert cluster.s3.keys() == []
    assert send(request, encoded)[0] == 200
    assert cluster.params.read_bytes(params_id) == encoded


@pytest.mark.parametrize("keeps_checksums", [True, False])
def test_the_admin_looks_at_what_was_stored_before_it_counts(cluster: Cluster, keeps_checksums: bool) -> None:
    cluster.s3.keeps_checksums = keeps_checksums
    params_id, encoded = params_of(DATA)
    with pytest.raises(InvalidTrialError):
        cluster.params.confirm(params_id, len(encoded))
    request = cluster.params.sign_write(params_id, len(encoded))
    assert request is not None and send(request, encoded)[0] == 200
    cluster.params.confirm(params_id, len(encoded))
    with pytest.raises(DamagedFileError, match=r"do(es)? not match"):
        cluster.params.confirm(params_id, len(encoded) - 1)
    # What is not what it should be is gone.
    assert cluster.s3.keys() == []


def test_what_a_careless_server_has_taken_is_found_by_the_admin(cluster: Cluster) -> None:
    cluster.s3.keeps_checksums = False
    params_id, encoded = params_of(DATA)
    request = cluster.params.sign_write(params_id, len(encoded))
    assert request is not None and send(request, encoded)[0] == 200
    cluster.s3.damage(params_id)
    with pytest.raises(DamagedFileError):
        cluster.params.confirm(params_id, len(encoded))


def test_what_others_have_stored_is_neither_confirmed_nor_given_by_its_id_alone(cluster: Cluster) -> None:
    params_id, encoded = params_of(b"of another job")
    cluster.params.put(params_id, [encoded])
    assert cluster.params.sign_write(params_id, len(encoded)) is None
    connection = http.client.HTTPConnection("127.0.0.1", cluster.admin.port, timeout=30)
    for method, path, body in (
        ("POST", f"/stores/params/{params_id}/upload", b'{"size_bytes": 5}'),
        ("POST", f"/stores/params/{params_id}/stored", b'{"size_bytes": 5}'),
        ("PUT", f"/stores/params/{params_id}", b"guess"),
    ):
        connection.request(method, path, body, {"Authorization": "Bearer t"})
        answer = connection.getresponse()
        answer.read()
        assert (method, answer.status) != ("PUT", 200)
    connection.close()
    assert cluster.rights.written == set()
    assert cluster.params.read_bytes(params_id) == encoded


def test_an_admin_that_was_started_anew_in_the_middle_takes_the_parameters_itself(cluster: Cluster) -> None:
    params_id, encoded = params_of(DATA)
    write = cluster.worker_params._direct.write

    def write_and_forget(request: SignedRequest, parts: Any) -> None:
        write(request, parts)
        cluster.rights.written.clear()

    cluster.worker_params._direct.write = write_and_forget  # type: ignore[method-assign]
    cluster.worker_params.put(params_id, [encoded])
    assert cluster.rights.written == {params_id}
    assert cluster.n_bytes_through_admin > len(encoded)


def without_direct(cluster: Cluster, how: str) -> str:
    """Make it impossible to reach the bucket directly; what the log says then."""
    match how:
        case "out of reach":
            cluster.reopen(options="&worker_endpoint=http://127.0.0.1:9")
            return "cannot be reached from here"
        case "expired":
            cluster.s3.clock_is_ahead_s = 600
            return "Request has expired"
        case "denied":
            cluster.s3.refuses = lambda e: refusal("AccessDenied") if "X-Amz-Sig" in e["QUERY_STRING"] else None
            return "AccessDenied"
    cluster.reopen(is_direct=False)
    return ""


@pytest.mark.parametrize("how", ["out of reach", "expired", "denied", "by setting"])
def test_what_cannot_travel_directly_goes_through_the_admin_and_the_log_says_why(
    cluster: Cluster, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    reason = without_direct(cluster, how)
    store_id = cluster.datasets.save([DATA]).store_id
    assert cluster.worker_datasets.get_path(store_id).read_bytes() == DATA
    params_id, encoded = params_of(DATA)
    for _ in range(2):
        cluster.worker_params.put(params_id, [encoded])
        assert cluster.worker_params.read_bytes(params_id) == encoded
    told = [record.getMessage() for record in caplog.records if record.name.startswith("rafiki")]
    assert len(told) == (2 if reason else 0)
    for message in told:
        assert reason in message and "travel through the admin" in message
        assert "Signature" not in message and cluster.s3.secret not in message


def test_parameters_too_large_for_one_request_go_in_parts_through_the_admin(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rafiki.stores.s3.param_store.LARGEST_PUT_BYTES", 1000)
    monkeypatch.setattr("rafiki.stores.s3.param_store._IN_MEMORY_BYTES", 1000)
    data = random.Random(1).randbytes(12_000_000)
    params_id, encoded = params_of(data)
    cluster.worker_params.put(params_id, [encoded])
    assert sum("partNumber" in request for request in cluster.s3.requests) > 1
    assert cluster.worker_params.read_bytes(params_id) == encoded


WRONG: dict[str, tuple[Callable[[dict[str, Any]], bytes | None], str]] = {
    "keys": (lambda e: refusal("InvalidAccessKeyId"), "does not know them. Set AWS_ACCESS_KEY_ID"),
    "rights": (lambda e: refusal("AccessDenied"), "may not do this. Allow s3:ListBucket"),
    "clock": (lambda e: refusal("RequestTimeTooSkewed"), "clocks of the admin and of the store differ"),
    "region": (
        lambda e: refusal("AuthorizationHeaderMalformed", extra="<Region>eu-west-1</Region>"),
        "in the region eu-west-1: write region=eu-west-1",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_store_that_cannot_be_used_is_told_at_the_start(cluster: Cluster, what: str) -> None:
    cluster.s3.refuses, told = WRONG[what]
    with pytest.raises(UnreachableError, match=r"s3://rafiki-tests/") as caught:
        cluster.params.check()
    assert told in str(caught.value)


def test_a_bucket_and_a_server_that_are_not_there_are_told_at_the_start(cluster: Cluster) -> None:
    cluster.params.check()
    other = StoreLocation(url=cluster.s3.location("p").url.replace("rafiki-tests", "other"))
    with pytest.raises(UnreachableError, match="there is no such bucket"):
        open_param_store(other).check()
    cluster.s3.close()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        cluster.datasets.check()


def test_a_bucket_that_keeps_versions_is_told(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.datasets.check()
    assert "keeps versions" not in caplog.text
    cluster.s3.keep_versions()
    cluster.datasets.check()
    assert "keeps versions" in caplog.text


@pytest.mark.parametrize(
    ("url", "at"),
    [
        ("s3://b/p?endpoint=http://h:1", "http://h:1/b/p/x"),
        ("s3://b/p?endpoint=http://h:1/&style=virtual", "http://b.h:1/p/x"),
        ("s3://b?region=eu-west-1", "https://b.s3.eu-west-1.amazonaws.com/x"),
        ("s3://b.c/p", "https://s3.us-east-1.amazonaws.com/b.c/p/x"),
        ("s3://b/a%20b?endpoint=http://h:1&worker_endpoint=https://w", "https://w/b/a%20b/x"),
    ],
)
def test_a_bucket_is_named_by_the_path_or_by_the_host(url: str, at: str) -> None:
    assert parse_address(StoreLocation(url=url)).url_of("x", for_workers=True) == at


def test_hosts_that_name_buckets_work(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of such a host leads here, as a wildcard of DNS would lead it."""
    seen: list[str] = []
    cluster.s3.refuses = lambda e: seen.append(e["HTTP_HOST"])
    connect = http.client.HTTPConnection.connect

    def lead_here(self: http.client.HTTPConnection) -> None:
        self.host = "127.0.0.1"
        connect(self)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", lead_here)
    location = cluster.s3.location("p").url.replace("127.0.0.1", "s3.amazonaws.com") + "&style=virtual"
    open_param_store(StoreLocation(url=location)).check()
    assert seen and set(seen) == {f"rafiki-tests.s3.amazonaws.com:{urlsplit(cluster.s3.endpoint).port}"}


def test_many_workers_at_once(cluster: Cluster) -> None:
    made = [params_of(bytes([i]) * 100_000) for i in range(8)]
    errors: list[RafikiError] = []

    def work(params_id: str, encoded: bytes) -> None:
        try:
            cluster.worker_params.put(params_id, [encoded])
        except RafikiError as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=each, daemon=True) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    for params_id, encoded in made:
        assert hashlib.sha256(cluster.params.read_bytes(params_id)).digest() == hashlib.sha256(encoded).digest()

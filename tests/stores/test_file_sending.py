"""Files that the kernel sends: whole, in parts, to clients that go away or stop, on connections that are used again."""

from __future__ import annotations

import http.client
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from support.http.threaded_server import ThreadedServer

from rafiki.contract import file_sending
from rafiki.contract.file_sending import FileResponse
from rafiki.settings import HttpConfig
from rafiki.utils.clock import Deadline
from rafiki.utils.digest_thread import DigestThread
from rafiki.utils.process import wait_until

DATA = random.Random(0).randbytes(9_000_001)


class Served:
    def __init__(self, folder: Path, server: str) -> None:
        self.path = folder / "data"
        self.path.write_bytes(DATA)

        async def send(request: Request) -> Response:
            start, end = int(request.query_params["start"]), int(request.query_params["end"])
            return FileResponse(self.path, start, end, 206, {"x-own": "1"})

        async def small(request: Request) -> Response:
            return PlainTextResponse("small")

        app = Starlette(routes=[Route("/file", send), Route("/small", small)])
        self.server = ThreadedServer(app, http=HttpConfig() if server == "admin" else None)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)


@pytest.fixture(params=["admin", "any"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, request.param)
    yield made
    made.server.close()


@pytest.fixture
def of_the_admin(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, "admin")
    yield made
    made.server.close()


def open_files(path: Path) -> int:
    """How many descriptors of this process are of a file."""
    return sum(os.path.realpath(f"/proc/self/fd/{fd}") == str(path) for fd in os.listdir("/proc/self/fd"))


def send_threads() -> int:
    return sum(thread.name == "send file" for thread in threading.enumerate())


def test_parts_and_the_whole_arrive_on_one_connection(served: Served) -> None:
    connection = served.connect()
    for start, end in ((0, len(DATA)), (5, 6), (1_000_000, 8_000_000), (7, 7), (0, 1), (len(DATA) - 1, len(DATA))):
        connection.request("GET", f"/file?start={start}&end={end}")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["x-own"]) == (206, "1")
        assert answer.read() == DATA[start:end]
        connection.request("GET", "/small")
        assert connection.getresponse().read() == b"small"
    connection.request("HEAD", "/small")
    assert connection.getresponse().status == 200
    connection.close()


def test_several_requests_that_are_sent_ahead_are_answered_in_order(of_the_admin: Served) -> None:
    with socket.create_connection(("127.0.0.1", of_the_admin.server.port), timeout=60) as client:
        ask = b"GET /file?start=0&end=3000000 HTTP/1.1\r\nHost: h\r\n\r\n"
        client.sendall(ask * 3 + b"GET /small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(1 << 20), b""))
    assert received.count(DATA[:3_000_000]) == 3
    assert received.endswith(b"small")


def test_the_kernel_sends_and_python_reads_nothing(of_the_admin: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> bytes:
        raise AssertionError("the file was read")

    monkeypatch.setattr(file_sending.os, "pread", never)
    connection = of_the_admin.connect()
    connection.request("GET", f"/file?start=0&end={len(DATA)}")
    assert connection.getresponse().read() == DATA
    connection.close()


def test_a_client_that_goes_away_leaves_nothing_behind(of_the_admin: Served) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", of_the_admin.server.port), timeout=60) as client:
            client.sendall(b"GET /file?start=0&end=9000000 HTTP/1.1\r\nHost: h\r\n\r\n")
            client.recv(1000)
    assert wait_until(lambda: send_threads() == 0 and open_files(of_the_admin.path) == 0, Deadline(30.0))


def test_a_client_that_takes_nothing_is_given_up_and_holds_up_nobody(
    of_the_admin: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_sending, "_SILENCE_S", 0.5)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", of_the_admin.server.port))
        client.sendall(b"GET /file?start=0&end=9000000 HTTP/1.1\r\nHost: h\r\n\r\n")
        connection = of_the_admin.connect()
        connection.request("GET", "/small")
        assert connection.getresponse().read() == b"small"
        connection.close()
        assert wait_until(lambda: send_threads() == 0 and open_files(of_the_admin.path) == 0, Deadline(30.0))


def test_a_digest_beside_is_that_of_all_chunks() -> None:
    import hashlib

    digest, plain = DigestThread(), hashlib.sha256()
    for i in range(100):
        chunk = DATA[i * 50_000 : (i + 1) * 50_000]
        digest.update(chunk)
        plain.update(chunk)
        if i % 30 == 0:
            assert digest.hexdigest() == plain.hexdigest()
    assert digest.hexdigest() == plain.hexdigest()
    digest.close()
    digest.close()
    assert not any(thread.name == "sha256" for thread in threading.enumerate())

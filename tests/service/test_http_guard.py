"""Connections of strangers: what is too large, too slow or too many is refused, and costs others nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.http.threaded_server import ThreadedServer
from support.stacks.running_stack import eventually

from rafiki.contract.cors import with_cors
from rafiki.settings import HttpConfig

LIMITS = HttpConfig(
    max_header_kb=16, header_timeout_s=0.5, body_timeout_s=0.5, max_connections=8, max_connections_per_address=6
)
MOST_BODY = 1 << 20


async def _echo(request: Request) -> Response:
    size = 0
    seen = request.scope["headers"]
    async for piece in request.stream():
        size += len(piece)
        if size > MOST_BODY:
            return Response(b"too large", 413)
    return Response(str(size).encode(), headers={"x-seen": "yes"} if any(n == b"x-seen" for n, _ in seen) else {})


@pytest.fixture(params=[True, False], ids=["admin", "predictor"])
def server(request: pytest.FixtureRequest) -> Iterator[ThreadedServer]:
    app = with_cors(Starlette(routes=[Route("/", _echo, methods=["GET", "POST"])]), ["https://app.example.org"])
    made = ThreadedServer(app, http=LIMITS, sends_files=request.param)
    yield made
    made.close()


@contextlib.contextmanager
def connected(server: ThreadedServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        yield sock


def read_all(sock: socket.socket) -> bytes:
    """Until the other side closes."""
    found = b""
    while piece := sock.recv(65536):
        found += piece
    return found


def refusal(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = [line.partition(b": ") for line in head.lower().split(b"\r\n")[1:]]
    assert [value for name, _, value in headers if name == b"content-length"] == [b"%d" % len(body)]
    assert (b"connection", b": ", b"close") in headers
    return int(head.split()[1]), msgspec.json.decode(body)["error"]


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


def test_headers_that_are_too_large_are_refused_however_they_come(server: ThreadedServer) -> None:
    for pieces in ([GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n"], [GET + b"X: "] + [b"a" * 4096] * 100):
        with connected(server) as sock:
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    sock.sendall(piece)
            assert refusal(read_all(sock)) == (431, "HeadersTooLargeError")
    many = GET + b"".join(b"X-%d: a\r\n" % i for i in range(5000)) + b"\r\n"
    with connected(server) as sock:
        sock.sendall(many)
        assert refusal(read_all(sock)) == (431, "HeadersTooLargeError")


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "endless",
    [[b"0\r\n"] + [b"X: a\r\n" * 1000] * 100, [b"0\r\nX: "] + [b"a" * 8000] * 100, [b"3;"] + [b"a" * 8000] * 100],
    ids=["trailers", "a trailer", "an extension"],
)
def test_what_frames_a_body_is_limited_as_headers_are(server: ThreadedServer, endless: list[bytes]) -> None:
    with connected(server) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(CHUNKED + b"3\r\nabc\r\n")
            for piece in endless:
                sock.sendall(piece)
        assert refusal(read_all(sock)) == (431, "HeadersTooLargeError")


def test_trailers_of_common_size_are_passed_over_and_are_no_headers(server: ThreadedServer) -> None:
    with connected(server) as sock:
        sock.sendall(CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        for _ in range(1000):
            sock.sendall(b"40;name=value\r\n%b\r\n" % (b"a" * 64))
        sock.sendall(b"0\r\nX-Seen: trailer\r\n\r\n")
        answer = read_all(sock)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"x-seen" not in answer
        assert answer.endswith(b"\r\n\r\n64000")


POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
BROKEN = {
    "both lengths": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "a length below 0": POST + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "a length in words": POST + b"Content-Length: three\r\n\r\nabc",
    "a length beyond all": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "a chunk without a size": CHUNKED + b"zz\r\nabc\r\n",
    "a chunk beyond all": CHUNKED + b"ffffffffffffffffff\r\nabc\r\n",
    "a chunk without an end": CHUNKED + b"3\r\nabcXX0\r\n\r\n",
    "another encoding": POST + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "an encoding that ends like one": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a zero byte": POST + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "lines without a return": b"GET / HTTP/1.1\nHost: x\n\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "a blank before the colon": GET + b"X : a\r\n\r\n",
    "a version of the future": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/2 without a word": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another method": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_what_two_servers_could_read_differently_is_refused(server: ThreadedServer, sent: bytes) -> None:
    with connected(server) as sock:
        # What follows must not pass for a request of somebody behind the same proxy.
        sock.sendall(sent + GET + b"\r\n")
        answer = read_all(sock)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert refusal(answer) == (400, "InvalidRequestError")


def test_headers_that_drip_are_refused_in_time(server: ThreadedServer) -> None:
    with connected(server) as sock:
        sock.settimeout(0.05)
        sock.sendall(GET + b"X: ")
        answer = b""

        def is_told() -> bool:
            nonlocal answer
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                answer += sock.recv(65536)
            return b"\r\n\r\n" in answer

        eventually(is_told, "a refusal")
        assert refusal(answer) == (408, "RequestTimeoutError")


def test_headers_within_the_limit_are_taken_with_a_body_that_comes_with_them(server: ThreadedServer) -> None:
    body = b"b" * 200_000
    with connected(server) as sock:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nX: %s\r\nConnection: close\r\n" % (b"a" * 9000)
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert read_all(sock).endswith(b"\r\n\r\n200000")


def test_an_endless_header_holds_up_nobody(server: ThreadedServer) -> None:
    stopped = threading.Event()

    def flood() -> None:
        with contextlib.suppress(OSError), connected(server) as sock:
            sock.sendall(GET + b"X: ")
            for _ in range(2000):
                if stopped.is_set():
                    return
                sock.sendall(b"a" * 40_000)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(20):
            assert httpx.get(server.url, timeout=5).text == "0"
    finally:
        stopped.set()
        thread.join(60)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (GET, (408, "RequestTimeoutError")),
        (b"GE", (408, "RequestTimeoutError")),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", (408, "RequestTimeoutError")),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", (408, "RequestTimeoutError")),
    ],
)
def test_what_does_not_come_in_time_is_refused(server: ThreadedServer, sent: bytes, told: tuple[int, str]) -> None:
    with connected(server) as sock:
        sock.sendall(sent)
        assert refusal(read_all(sock)) == told


def test_who_says_nothing_is_let_go(server: ThreadedServer) -> None:
    with connected(server) as sock:
        assert read_all(sock) == b""


def test_the_second_request_of_a_connection_has_limits_too(server: ThreadedServer) -> None:
    with connected(server) as sock:
        sock.sendall(GET + b"\r\n" + GET)
        answer = read_all(sock)
        first, _, second = answer.partition(b"HTTP/1.1 408")
        assert first.startswith(b"HTTP/1.1 200")
        assert b"RequestTimeoutError" in second


def test_an_idle_connection_makes_room_for_a_new_one(server: ThreadedServer) -> None:
    with contextlib.ExitStack() as open_:
        clients = [open_.enter_context(httpx.Client(base_url=server.url, timeout=30)) for _ in range(12)]
        for client in clients:
            # Each keeps its connection.
            assert client.get("/").text == "0"
        assert httpx.get(server.url).text == "0"


def test_where_all_are_at_work_one_more_is_refused_and_served_later(server: ThreadedServer) -> None:
    begun = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    with contextlib.ExitStack() as open_:
        for _ in range(6):
            open_.enter_context(connected(server)).sendall(begun)
        statuses = []

        def is_refused() -> bool:
            with connected(server) as sock:
                sock.sendall(GET + b"Connection: close\r\n\r\n")
                statuses.append(int(read_all(sock).split()[1]))
            return statuses[-1] == 503

        eventually(is_refused, "a refusal")
        assert set(statuses) <= {200, 503}
    # Those that were at work have been refused for their pauses, or have gone.
    eventually(lambda: httpx.get(server.url).status_code == 200, "an answer")


def test_a_body_that_is_too_large_is_refused_so_that_any_client_sees_it(server: ThreadedServer) -> None:
    for _ in range(5):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.url, b"x" * (8 << 20), timeout=30)
        assert refused.value.code == 413
        assert refused.value.read() == b"too large"


def test_who_has_said_all_and_closes_that_side_is_answered(server: ThreadedServer) -> None:
    with connected(server) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(b"\r\n\r\n3")


def test_what_is_no_http_is_refused_with_a_reason(server: ThreadedServer) -> None:
    with connected(server) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert refusal(read_all(sock)) == (400, "InvalidRequestError")


def test_pages_of_named_origins_may_call(server: ThreadedServer) -> None:
    asked = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    allowed = httpx.options(server.url, headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
    assert httpx.options(server.url, headers={**asked, "origin": "https://evil.example.org"}).status_code == 400
    answer = httpx.get(server.url, headers={"origin": "https://evil.example.org"})
    assert "access-control-allow-origin" not in answer.headers

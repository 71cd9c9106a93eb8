from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from rafiki.client.plain_http import NoConnectionError, NoHttpError, PlainHttp
from rafiki.distribution import USER_AGENT
from rafiki.utils.sockets import any_free_port


class RawServer:
    """Answers each request with the next bytes of a list, whatever was asked, and may hang up then."""

    def __init__(self, answers: list[bytes], *, hangs_up: bool) -> None:
        self._answers, self._hangs_up = answers, hangs_up
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.requests: list[bytes] = []
        self.n_connections = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while self._answers:
                connection, _ = self._socket.accept()
                self.n_connections += 1
                with connection:
                    while self._answers and (request := connection.recv(65536)):
                        self.requests.append(request)
                        connection.sendall(self._answers.pop(0))
                        if self._hangs_up:
                            break

    def close(self) -> None:
        self._answers.clear()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@contextlib.contextmanager
def serving(*answers: bytes, hangs_up: bool = True) -> Iterator[tuple[RawServer, PlainHttp]]:
    server = RawServer(list(answers), hangs_up=hangs_up)
    client = PlainHttp("127.0.0.1", server.port, connect_timeout_s=10)
    try:
        yield server, client
    finally:
        client.close()
        server.close()


def get(client: PlainHttp, target: str = "/", timeout_s: float = 10.0) -> tuple[int, bytes]:
    answer = client.request("GET", target, body=None, headers={}, timeout_s=timeout_s)
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", (200, b"hi")),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", (404, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n4\r\n you\r\n0\r\n\r\n", (200, b"hi you")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", (200, b"hi")),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", (200, b"to the end")),
    ],
)
def test_an_answer_is_read_to_its_end(answer: bytes, expected: tuple[int, bytes]) -> None:
    with serving(answer) as (_, client):
        assert get(client) == expected


def test_an_answer_in_many_pieces_is_one() -> None:
    body = b"x" * 300_000
    with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body) as (_, client):
        assert get(client) == (200, body)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-Le", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", NoHttpError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi", NoHttpError),
        (b"SSH-2.0-OpenSSH_9.6\r\n", NoHttpError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", NoHttpError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000, NoHttpError),
    ],
)
def test_what_is_no_whole_answer_is_refused(answer: bytes, error: type[Exception]) -> None:
    with serving(answer) as (_, client), pytest.raises(error):
        get(client)


def test_a_connection_is_kept_for_the_next_request() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with serving(answer, answer, hangs_up=False) as (server, client):
        assert get(client, "/first?x=1") == get(client, "/second") == (200, b"hi")
        assert server.n_connections == 1
    assert [r.partition(b"\r\n")[0] for r in server.requests] == [b"GET /first?x=1 HTTP/1.1", b"GET /second HTTP/1.1"]


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_connection_that_the_server_ends_is_not_used_again(hangs_up: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
    with serving(answer, answer, hangs_up=hangs_up) as (server, client):
        assert get(client) == get(client) == (200, b"hi")
        assert server.n_connections == 2


def test_a_body_travels_with_its_length_and_its_headers() -> None:
    with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (server, client):
        client.request("POST", "/x", body="é".encode(), headers={"Content-Type": "text/plain"}, timeout_s=10)
    [sent] = server.requests
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body == "é".encode()
    expected = [f"Host: 127.0.0.1:{server.port}", "Accept-Encoding: identity", f"User-Agent: {USER_AGENT}"]
    told = ["Content-Type: text/plain", "Content-Length: 2"]
    assert head.decode().splitlines() == ["POST /x HTTP/1.1", *expected, *told]


def test_a_silent_server_is_not_waited_for_longer_than_asked() -> None:
    silent = serving(b"HTTP/1.1 200 OK\r\n", b"never asked for", hangs_up=False)
    with silent as (_, client), pytest.raises(TimeoutError):
        get(client, timeout_s=0.05)


def test_nobody_at_the_address_is_told_apart() -> None:
    client = PlainHttp("127.0.0.1", any_free_port(), connect_timeout_s=10)
    with pytest.raises(NoConnectionError):
        get(client)


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/a b", {}), ("/a\r\nX: y", {}), ("/é", {}), ("/", {"Authorization": "Bearer x\r\nX: y"})],
)
def test_nothing_is_smuggled_into_a_request(target: str, headers: dict[str, str]) -> None:
    client = PlainHttp("127.0.0.1", 1, connect_timeout_s=10)
    with pytest.raises(ValueError, match="no place"):
        client.request("GET", target, body=None, headers=headers, timeout_s=10)

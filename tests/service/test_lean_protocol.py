"""The protocol of predictors keeps what HTTP and ASGI promise, though it does less for each request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send
from support.http.threaded_server import ThreadedServer

from rafiki.contract.lean_protocol import LeanProtocol
from rafiki.settings import HttpConfig


def start(status: int, *headers: tuple[bytes, bytes]) -> dict[str, object]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, more: bool = False) -> dict[str, object]:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["path"]
    if path == "/wait":
        await asyncio.sleep(0.2)
    if path == "/fail":
        raise ValueError("at once")
    if path == "/silent":
        return
    if path == "/split":
        await send(start(200, (b"x-a", b"b\r\nx-c: d")))
        await send(body(b""))
    elif path == "/parts":
        await send(start(200))
        for part in (b"one", b"", b"two"):
            await send(body(part, more=True))
        await send(body(b"three"))
    elif path == "/breaks":
        await send(start(200))
        await send(body(b"one", more=True))
        raise ValueError("in between")
    elif path == "/short":
        await send(start(200, (b"content-length", b"10")))
        await send(body(b"short"))
    elif path == "/none":
        await send(start(204, (b"allow", b"POST")))
        await send(body(b""))
    elif path == "/close":
        await send(start(200, (b"connection", b"close")))
        await send(body(b"bye"))
    elif path == "/large":
        await send(start(200))
        await send(body(b"x" * (3 << 20)))
    else:
        found = b""
        while True:
            message = await receive()
            found += message.get("body", b"")
            if not message.get("more_body"):
                break
        told = b"%s %s?%s %s" % (scope["method"].encode(), path.encode(), scope["query_string"], found)
        await send(start(200, (b"content-length", b"%d" % len(told))))
        await send(body(told))


@pytest.fixture
def server() -> Iterator[ThreadedServer]:
    limits = HttpConfig(header_timeout_s=5, body_timeout_s=5)
    made = ThreadedServer(_app, http=limits, sends_files=False)
    yield made
    made.close()


def talk(server: ThreadedServer, *pieces: bytes) -> bytes:
    """What is answered to all that is sent, until the other side closes."""
    found = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        for piece in pieces:
            sock.sendall(piece)
        while piece := sock.recv(65536):
            found += piece
    return found


def request(target: str, method: str = "GET", content: bytes = b"", *headers: str, close: bool = True) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers]
    if content:
        lines.append(f"Content-Length: {len(content)}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


def test_requests_that_are_sent_ahead_are_answered_in_their_order(server: ThreadedServer) -> None:
    sent = [request(p, "POST", p.encode(), close=False) for p in ("/wait", "/1", "/2", "/wait")]
    answer = talk(server, b"".join([*sent, request("/last")]))
    told = [b"POST /wait? /wait", b"POST /1? /1", b"POST /2? /2", b"POST /wait? /wait", b"GET /last? "]
    assert answer == b"".join(
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n%s"
        % (len(t), b"connection: close\r\n" if t == told[-1] else b"", t)
        for t in told
    )


def test_a_body_may_come_in_pieces_and_in_chunks(server: ThreadedServer) -> None:
    whole = request("/", "POST", b"abcdef")
    assert talk(server, *(whole[i : i + 7] for i in range(0, len(whole), 7))).endswith(b"POST /? abcdef")
    chunked = request("/", "POST", b"", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
    assert talk(server, chunked).endswith(b"POST /? abcdef")
    large = request("/", "POST", b"y" * (1 << 20))
    assert talk(server, large).endswith(b"POST /? " + b"y" * (1 << 20))


def test_targets_are_read_as_they_are_meant(server: ThreadedServer) -> None:
    for _ in range(2):
        assert talk(server, request("/a%20b?c=%20d")).endswith(b"GET /a b?c=%20d ")
        assert talk(server, request("http://elsewhere/path?q")).endswith(b"GET /path?q ")


def test_answers_without_a_body_have_none(server: ThreadedServer) -> None:
    assert talk(server, request("/", "HEAD")) == b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\n"
    assert talk(server, request("/parts", "HEAD")).endswith(b"\r\n\r\n")
    none = talk(server, request("/none", close=False) + request("/none"))
    assert none.startswith(b"HTTP/1.1 204 No Content\r\nallow: POST\r\n\r\nHTTP/1.1 204")
    assert b"content-length" not in none


def test_an_answer_of_unknown_length_is_chunked(server: ThreadedServer) -> None:
    answer = talk(server, request("/parts", close=False) + request("/"))
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"
    assert content.startswith(b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\nHTTP")


def test_a_large_answer_arrives_whole(server: ThreadedServer) -> None:
    head, _, content = talk(server, request("/large")).partition(b"\r\n\r\n")
    assert b"content-length: 3145728" in head
    assert content == b"x" * (3 << 20)


@pytest.mark.parametrize("path", ["/fail", "/silent", "/split", "/short"])
def test_an_application_that_fails_is_a_500_and_others_are_served(server: ThreadedServer, path: str) -> None:
    answer = talk(server, request(path, close=False))
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert answer.endswith(b"connection: close\r\n\r\nInternal Server Error")
    assert b"x-c" not in answer
    assert talk(server, request("/")).startswith(b"HTTP/1.1 200")


def test_an_answer_that_breaks_off_is_not_mistaken_for_a_whole_one(server: ThreadedServer) -> None:
    answer = talk(server, request("/breaks", close=False))
    assert answer.endswith(b"3\r\none\r\n")


def test_a_connection_ends_when_either_side_says_so(server: ThreadedServer) -> None:
    assert talk(server, request("/close", close=False)).endswith(b"connection: close\r\ncontent-length: 3\r\n\r\nbye")
    assert b"connection: close" in talk(server, b"GET / HTTP/1.0\r\n\r\n")


def test_who_waits_for_a_word_before_the_body_gets_it(server: ThreadedServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        head, content = request("/", "POST", b"abc", "Expect: 100-continue").split(b"\r\n\r\n")
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(content)
        assert b"POST /? abc" in sock.recv(1000)


def test_an_upgrade_is_not_taken_and_answered_all_the_same(server: ThreadedServer) -> None:
    answer = talk(server, request("/", "GET", b"", "Connection: Upgrade, close", "Upgrade: websocket", close=False))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_connection_that_is_idle_for_too_long_ends(server: ThreadedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LeanProtocol, "has_been_idle_for_long", lambda self, now: self._answered_at > 0)
    assert talk(server, request("/", close=False)).endswith(b"GET /? ")


def test_a_client_that_goes_away_is_noticed_by_the_application(server: ThreadedServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    # It has no body that is whole, and waits for nobody: the server goes on, and ends.
    assert talk(server, request("/")).startswith(b"HTTP/1.1 200")

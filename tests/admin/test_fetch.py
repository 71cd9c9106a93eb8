"""The fetching of a dataset from servers that lie, drip, redirect and change their address."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.tls.authority import Authority

from rafiki.admin import guarded_http as fetching
from rafiki.admin.fetch import _redirected, fetch
from rafiki.errors import InvalidDatasetError

OK = b"HTTP/1.1 200 OK\r\n"


class Site:
    """Answers each connection with bytes that a test prepared, and keeps what it was sent."""

    def __init__(self, answer: Callable[[bytes], Iterator[bytes]]) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/data"
        self.is_closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                request = b""
                while b"\r\n\r\n" not in request and (data := connection.recv(4096)):
                    request += data
                self.requests.append(request)
                for part in self._answer(request):
                    connection.sendall(part)

    def drip(self, part: bytes) -> Iterator[bytes]:
        while not self.is_closed.wait(0.05):
            yield part

    def close(self) -> None:
        self.is_closed.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(30.0)


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def start(*parts: bytes) -> Site:
        sites.append(Site(lambda _: iter(parts)))
        return sites[-1]

    yield start
    for site in sites:
        site.close()


def read(url: str, *, timeout_s: float = 60.0, allow_private: bool = True) -> bytes:
    with fetch(url, timeout_s=timeout_s, allow_private=allow_private) as chunks:
        return b"".join(chunks)


def refusal(url: str, **options: float) -> str:
    with pytest.raises(InvalidDatasetError) as refused:
        read(url, **options)  # type: ignore[arg-type]
    return refused.value.message


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """What the name data.example is said to have as addresses, at each time that it is asked for; the names asked."""
    real, asked, left = socket.getaddrinfo, [], list(answers)

    def lookup(host: str, port: int, *args: int, **options: int) -> object:
        if host != "data.example":
            return real(host, port, *args, **options)
        asked.append(host)
        return [found for address in left.pop(0) for found in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


# ---- where it leads


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "localhost", "127.0.0.1.",
        "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]",
        "[2002:7f00:1::1]", "[2002:a9fe:a9fe::]", "[2001:0:7f00:1::]", "[2a00:1450::5efe:10.0.0.1]", "[::]", "0",
        "[fe80::1%25lo]", "[ff02::1]", "100.64.0.1", "198.18.0.1", "192.0.2.1", "[2001:db8::1]", "224.0.0.1",
    ],
)  # fmt: skip
def test_no_spelling_of_an_address_that_is_not_public_is_connected_to(host: str) -> None:
    reason = refusal(f"http://{host}:8080/data", allow_private=False)
    assert "not a public address" in reason or "cannot be found" in reason


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    assert "10.0.0.1" in refusal("http://data.example/x", allow_private=False)


def test_an_address_of_this_machine_is_refused_although_it_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "is_public", lambda address: True)
    assert "not a public address" in refusal("http://127.0.0.1:8080/x", allow_private=False)


@pytest.mark.parametrize("port", [1, 22, 25, 81, 1023])
def test_ports_of_other_protocols_are_refused(port: int) -> None:
    assert f"port {port}," in refusal(f"http://8.8.8.8:{port}/x", allow_private=False)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://user:secret@127.0.0.1/x", "a user or a password"),
        ("http://user@127.0.0.1/x", "a user or a password"),
        ("http://@127.0.0.1/x", "a user or a password"),
        ("http://127.0.0.1:0/x", "port 0"),
        ("http://127.0.0.1:65536/x", "cannot be read"),
        ("http://127.0.0.1:-1/x", "cannot be read"),
        ("http://127.0.0.1\\@data.example/x", "no URL holds"),
        ("http://data.example/a\r\nX: y", "no URL holds"),
        ("http://data.example/\x00", "no URL holds"),
        ("http://[::1/x", "cannot be read"),
        ("http://data.example/" + "x" * 9000, "characters"),
        ("gopher://data.example/x", "must begin with http"),
        ("//data.example/x", "must begin with http"),
    ],
)
def test_a_url_that_says_two_things_is_refused(url: str, says: str) -> None:
    reason = refusal(url)
    assert says in reason
    assert "secret" not in reason


def test_the_connection_is_made_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Site]
) -> None:
    site = serve(OK + b"Content-Length: 4\r\n\r\ndata")
    checked: list[str] = []
    monkeypatch.setattr(fetching, "is_public", lambda address: checked.append(address) or True)
    monkeypatch.setattr(fetching, "is_own", lambda address: False)
    asked = resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    assert read(f"http://data.example:{site.port}/x", allow_private=False) == b"data"
    assert (asked, checked) == (["data.example"], ["127.0.0.1"])
    assert f"Host: data.example:{site.port}\r\n".encode() in site.requests[0]


def test_the_name_and_not_its_address_is_what_tls_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("data", "data.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    told: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: told.append(name)
    resolve_to(monkeypatch, ["127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        # Nobody knows the authority that signed its certificate.
        assert "cannot be fetched" in refusal(f"https://data.example:{server.getsockname()[1]}/x")
        thread.join(30.0)
    assert told == ["data.example"]


def test_another_address_of_the_name_is_tried_when_one_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Site]
) -> None:
    site = serve(OK + b"Content-Length: 4\r\n\r\ndata")
    resolve_to(monkeypatch, ["127.0.0.9", "127.0.0.1"])
    assert read(f"http://data.example:{site.port}/x") == b"data"


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"])
def test_a_proxy_of_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Site], name: str
) -> None:
    proxy, site = serve(OK + b"\r\nproxied"), serve(OK + b"\r\ndata")
    monkeypatch.setenv(name, proxy.url)
    assert read(site.url) == b"data"
    assert not proxy.requests


# ---- redirects


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nlocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def test_each_hop_is_checked(monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Site]) -> None:
    inside = serve(OK + b"\r\nsecret")
    site = serve(redirect(f"http://127.0.0.2:{inside.port}/"))
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(fetching, "is_own", lambda address: False)
    assert "127.0.0.2" in refusal(site.url, allow_private=False)
    assert not inside.requests


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file:///etc/passwd", "must begin with http"),
        ("ftp://data.example/x", "must begin with http"),
        ("http://user:secret@127.0.0.1/", "a user or a password"),
        ("http://[::1/", "no URL"),
        ("http://127.0.0.1:99999/", "cannot be read"),
        ("", "without saying where"),
        ("/data", "more than 5 times"),
    ],
)
def test_a_redirect_to_what_no_url_may_name_is_refused(serve: Callable[..., Site], target: str, says: str) -> None:
    site = serve(redirect(target))
    assert says in refusal(site.url)
    assert len(site.requests) <= 6


def test_a_redirect_from_https_to_http_is_refused() -> None:
    with pytest.raises(InvalidDatasetError, match="from https to http"):
        _redirected("https://data.example/x", "http://data.example/x")
    assert _redirected("http://data.example/x", "https://other.example/y") == "https://other.example/y"


# ---- servers that lie


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (OK + b"Content-Length: 10\r\n\r\nshort", "cannot be fetched"),
        (OK + b"Content-Length: -1\r\n\r\nx", "cannot be fetched"),
        (OK + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", "cannot be fetched"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "cannot be fetched"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "cannot be fetched"),
        (OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b", "compressed body"),
        (OK + b"Content-Encoding: br, gzip\r\n\r\n", "compressed body"),
        (OK + b"X: " + b"y" * 500_000 + b"\r\n\r\n", "cannot be fetched"),
        (b"HTTP/1.1 206 Partial Content\r\n\r\nx", "status 206"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "cannot be fetched"),
        (b"", "cannot be fetched"),
    ],
)
def test_an_answer_that_is_not_what_it_says_is_refused(serve: Callable[..., Site], answer: bytes, says: str) -> None:
    assert says in refusal(serve(answer).url)


def test_what_comes_after_the_length_that_was_told_is_not_taken(serve: Callable[..., Site]) -> None:
    assert read(serve(OK + b"Content-Length: 4\r\n\r\ndata and more").url) == b"data"


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"", b"H"),
        (OK, b"X: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (OK + b"\r\n", b"x"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (OK + b"Content-Length: 1000000\r\n\r\n", b""),
    ],
)
def test_a_drip_ends_with_the_deadline_wherever_it_drips(begin: bytes, part: bytes) -> None:
    def answer(_: bytes) -> Iterator[bytes]:
        # "H" again and again would be no HTTP: the first line itself drips.
        if begin == b"" and part == b"H":
            yield from (bytes([c]) for c, _ in zip(OK[:-2], site.drip(b""), strict=False))
            yield from site.drip(b"")
        yield begin
        yield from site.drip(part)

    site = Site(answer)
    try:
        assert "did not arrive within 0.6 s" in refusal(site.url, timeout_s=0.6)
    finally:
        site.close()

"""Addresses with https://: how they are taken apart, and a server that speaks TLS."""

from __future__ import annotations

import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from rafiki.client import Client
from rafiki.client.http_server import join_address, split_address
from rafiki.client.records import AdminClient
from rafiki.errors import InvalidRequestError, UnreachableError


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("host:1", ("host", 1)),
        ("http://host:1/", ("host", 1)),
        ("[::1]:3000", ("::1", 3000)),
        ("https://host:443", ("https://host", 443)),
        ("https://[::1]:443/", ("https://::1", 443)),
    ],
)
def test_an_address_is_taken_apart_and_put_together_again(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address, "an admin") == parts
    assert join_address(*parts) == address.removeprefix("http://").rstrip("/")


@pytest.mark.parametrize(
    "address", ["host", "https://host", "ftp://host:1", "host:1/path", "me@host:1", "https://host:1?x", "ho st:1", ":1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidRequestError, match="host:port"):
        split_address(address, "an admin")


class TlsServer(NamedTuple):
    port: int
    certificate: Path


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    """A server of health answers behind TLS, with a certificate that no machine trusts by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"name": "rafiki", "version": "1", "status": "ok"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield TlsServer(server.server_port, certificate)
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.parametrize("kind", [Client, AdminClient])
def test_a_trusted_server_is_talked_to_over_tls(
    tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch, kind: type[Client] | type[AdminClient]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.certificate))
    with kind("https://localhost", tls_server.port) as client:
        assert client.address == f"https://localhost:{tls_server.port}"
        assert msgspec.to_builtins(client.get_health())["status"] == "ok"


@pytest.mark.parametrize("kind", [Client, AdminClient])
def test_an_untrusted_server_is_refused_with_the_cure(
    tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch, kind: type[Client] | type[AdminClient]
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with (
        kind("https://localhost", tls_server.port) as client,
        pytest.raises(UnreachableError, match=r"not trusted by this machine: .*--ca or RAFIKI_CA"),
    ):
        client.get_health()

"""Datasets that the admin fetches: from where the user could, and from nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.http.raw_http import TASK, Caller, superadmin_of, unique
from support.stacks.running_stack import RunningStack

DATA = b"some bytes"


class _Files(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/redirect/"):
            left = int(self.path.rpartition("/")[2])
            self.send_response(302)
            self.send_header("Location", f"/redirect/{left - 1}" if left else "/data")
            self.end_headers()
        elif self.path == "/data":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(DATA)
        elif self.path == "/large":
            self.send_response(200)
            self.end_headers()
            for _ in range(3):
                self.wfile.write(bytes(1 << 20))
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def open_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A stack that may fetch from loopback, and takes at most 2 MB."""
    settings = {"admin": {"allow_private_dataset_urls": True, "max_dataset_mb": 2}}
    running = RunningStack(tmp_path_factory.mktemp("open"), settings)
    running.up()
    yield superadmin_of(running)
    running.down()


def fields(url: str) -> dict[str, object]:
    return {"data": {"name": unique("data"), "task": TASK, "dataset_url": url}}


@pytest.mark.parametrize("path", ["/data", "/redirect/0", "/redirect/3"])
def test_a_dataset_is_fetched_from_its_url(open_stack: Caller, site: str, path: str) -> None:
    made = open_stack.ok("POST", "/datasets", **fields(site + path))
    assert made["size_bytes"] == len(DATA)


@pytest.mark.parametrize(
    ("path", "error", "reason"),
    [
        ("/nothing", "InvalidDatasetError", "status 404"),
        ("/redirect/9", "InvalidDatasetError", "redirected more than 5 times"),
        ("/large", "RequestTooLargeError", "at most 2,097,152 bytes"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_reason(
    open_stack: Caller, site: str, path: str, error: str, reason: str
) -> None:
    assert reason in open_stack.refused(error, "POST", "/datasets", **fields(site + path))
    open_stack.ok("POST", "/datasets", **fields(site + "/data"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]"]
)
def test_a_url_does_not_lead_into_private_networks(stack: RunningStack, host: str) -> None:
    reason = superadmin_of(stack).refused("InvalidDatasetError", "POST", "/datasets", **fields(f"http://{host}:9/data"))
    assert "not a public address" in reason


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "nonsense", "http://"])
def test_only_http_and_https_are_fetched(stack: RunningStack, url: str) -> None:
    superadmin_of(stack).refused("InvalidDatasetError", "POST", "/datasets", **fields(url))


def test_a_file_and_a_url_at_once_are_refused(stack: RunningStack, tmp_path: Path) -> None:
    both = {**fields("http://x/y"), "files": {"dataset": ("d", DATA)}}
    assert "not both" in superadmin_of(stack).refused("InvalidRequestError", "POST", "/datasets", **both)

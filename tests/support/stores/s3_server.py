"""A real server that speaks like S3 (moto's), on a port of its own; it may be full, and damage what it holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from rafiki.store_location import StoreLocation

_FULL = b"<Error><Code>XMinioStorageFull</Code><Message>There is no storage left.</Message></Error>"
_BUCKET = "rafiki-tests"


class S3Server:
    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.is_full = False
        self.requests: list[str] = []
        """Method and query of each."""
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        s3_backends.reset()
        self._backend.create_bucket(_BUCKET, "us-east-1")

    @property
    def _backend(self) -> Any:
        return s3_backends["123456789012"]["aws"]

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append(f"{environ['REQUEST_METHOD']} {environ['QUERY_STRING']}")
        if self.is_full and environ["REQUEST_METHOD"] in ("PUT", "POST"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("409 Conflict", [("Content-Type", "application/xml"), ("Content-Length", str(len(_FULL)))])
            return [_FULL]
        found: Iterable[bytes] = self._app(environ, start)
        return found

    def location(self, prefix: str) -> StoreLocation:
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        return StoreLocation(url=f"s3://{_BUCKET}/{quote(prefix)}?endpoint={endpoint}")

    def damage(self, stored_id: str) -> None:
        keys = [key for key in self._backend.buckets[_BUCKET].keys if stored_id in key]
        [key] = keys
        data = bytearray(self._backend.get_object(_BUCKET, key).value)
        data[-1] ^= 1
        self._backend.put_object(_BUCKET, key, bytes(data))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

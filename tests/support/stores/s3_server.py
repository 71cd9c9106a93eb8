"""A real server that speaks like S3 (moto's), on a port of its own; it may be full, and damage what it holds.

As S3 does and moto does not, it checks signatures in the query of a request: their time, what they are of, the size and
the checksum of an upload.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from rafiki.store_location import StoreLocation

_FULL = b"<Error><Code>XMinioStorageFull</Code><Message>There is no storage left.</Message></Error>"
_BUCKET = "rafiki-tests"


def refusal(code: str, message: str = "No.", extra: str = "") -> bytes:
    """As S3 says no."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>".encode()


class _Check(S3SigV4QueryAuth):  # type: ignore[misc]
    """The signature that a request of that moment has."""

    def __init__(self, secret: str, region: str, expires: int, moment: str) -> None:
        super().__init__(Credentials("any", secret), "s3", region, expires)
        self.moment = moment

    def of(self, request: AWSRequest) -> str:
        request.context["timestamp"] = self.moment
        string = self.string_to_sign(request, self.canonical_request(request))
        return str(self.signature(string, request))


class S3Server:
    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.is_full = False
        self.secret = "for-tests"
        self.clock_is_ahead_s = 0.0
        self.keeps_checksums = True
        self.refuses: Callable[[dict[str, Any]], bytes | None] = lambda environ: None
        """The body of a refusal of a request; None lets it pass."""
        self.signed: list[tuple[str, str]] = []
        """Method and path of the requests that were signed in their query."""
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
        body = self.refuses(environ)
        if body is None and "X-Amz-Signature=" in environ["QUERY_STRING"]:
            self.signed.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            body = self._check_signature(environ)
        if body is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        if not self.keeps_checksums:
            environ.pop("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", None)
        found: Iterable[bytes] = self._app(environ, start)
        return found

    def _check_signature(self, environ: dict[str, Any]) -> bytes | None:
        """What S3 would refuse a request with that is signed in its query."""
        query = {name: values[-1] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        made = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        now = datetime.now(UTC) + timedelta(seconds=self.clock_is_ahead_s)
        if now > made + timedelta(seconds=int(query["X-Amz-Expires"])):
            return refusal("AccessDenied", "Request has expired")
        _, _, region, _, _ = query["X-Amz-Credential"].split("/")
        names = query["X-Amz-SignedHeaders"].split(";")
        variables = {"content-length": "CONTENT_LENGTH", "content-type": "CONTENT_TYPE"}
        headers = {n: environ.get(variables.get(n, f"HTTP_{n.upper().replace('-', '_')}"), "") for n in names}
        unsigned, _, signature = environ["QUERY_STRING"].rpartition("&X-Amz-Signature=")
        url = f"http://{headers.pop('host')}{quote(environ['PATH_INFO'], safe='/~')}?{unsigned}"
        check = _Check(self.secret, region, int(query["X-Amz-Expires"]), query["X-Amz-Date"])
        if check.of(AWSRequest(environ["REQUEST_METHOD"], url, headers=headers)) != signature:
            return refusal("SignatureDoesNotMatch", "The signature we calculated does not match.")
        if told := headers.get("x-amz-checksum-sha256"):
            data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(data)
            if base64.b64encode(hashlib.sha256(data).digest()).decode() != told:
                return refusal("BadDigest", "The checksum did not match.")
        return None

    def keys(self) -> list[str]:
        """Of all objects."""
        return sorted(self._backend.buckets[_BUCKET].keys)

    def keep_versions(self) -> None:
        self._backend.put_bucket_versioning(_BUCKET, "Enabled")

    def location(self, prefix: str) -> StoreLocation:
        return StoreLocation(url=f"s3://{_BUCKET}/{quote(prefix)}?endpoint={self.endpoint}")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def is_closed(self) -> bool:
        return not self._thread.is_alive()

    def damage(self, stored_id: str) -> None:
        keys = [key for key in self._backend.buckets[_BUCKET].keys if stored_id in key]
        [key] = keys
        data = bytearray(self._backend.get_object(_BUCKET, key).value)
        data[-1] ^= 1
        self._backend.put_object(_BUCKET, key, bytes(data))

    def close(self) -> None:
        if self.is_closed:
            return
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

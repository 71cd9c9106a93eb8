"""Objects below one prefix of a bucket, with errors that say what to do."""

from __future__ import annotations

import base64
import configparser
import contextlib
import importlib
import logging
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from rafiki.entities import StoredFile
from rafiki.errors import ConfigError, StoreUnavailableError
from rafiki.signed_request import SignedRequest
from rafiki.store_location import StoreLocation
from rafiki.stores.s3.address import S3Address, parse_address
from rafiki.stores.s3.refusals import explain_failure, find_region, no_bucket
from rafiki.stores.s3.signer import Signer

if TYPE_CHECKING:
    from obstore.store import S3Store

_logger = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 20
_CHECK_S = 5.0
LARGEST_PUT_BYTES = 5 << 30
"""What S3 takes in one request; what is larger travels in parts, which the admin sends."""
_RETRY_FOR_S = 60
_TIMEOUT_S = 60


class StoredObject(NamedTuple):
    """What a server knows of an object."""

    size_bytes: int
    sha256: str | None
    """In hex; None where it does not know."""


class _Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


class Bucket:
    """May be used from several threads at once.

    Raises:
        ConfigError: the location is none of S3's, or the extra ``s3`` is not installed.
    """

    def __init__(self, location: StoreLocation) -> None:
        self.location = location
        self._address = parse_address(location)
        self._prefix = self._address.prefix
        self._store = _open(location, self._address)
        self._signer = Signer(location, self._address)

    def put(self, name: str, content: bytes | IO[bytes]) -> None:
        """Store an object. It appears whole or not at all; large ones travel in parts.

        Raises:
            StoreFullError: the server has no space.
        """
        import obstore

        try:
            with self._errors():
                obstore.put(self._store, self._address.key_of(name), content)
        except FileNotFoundError as e:
            # An object that is being written need not be there: it is the bucket.
            raise no_bucket(self.location) from e

    def find_size(self, name: str) -> int | None:
        """How many bytes an object has; None when there is none."""
        import obstore

        try:
            with self._errors():
                return int(obstore.head(self._store, self._address.key_of(name))["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str) -> Iterator[bytes] | None:
        """The bytes of an object in pieces; None when there is none."""
        import obstore

        try:
            with self._errors():
                found = obstore.get(self._store, self._address.key_of(name))
        except FileNotFoundError:
            return None
        return self._pieces(iter(found.stream(min_chunk_size=_PIECE_BYTES)))

    def _pieces(self, stream: Iterator[object]) -> Iterator[bytes]:
        while True:
            with self._errors():
                piece = next(stream, None)
            if piece is None:
                return
            yield bytes(piece)  # type: ignore[call-overload]

    def delete(self, name: str) -> None:
        """Remove an object; one that does not exist is no error."""
        import obstore

        with contextlib.suppress(FileNotFoundError), self._errors():
            obstore.delete(self._store, self._address.key_of(name))

    def list(self) -> list[StoredFile]:
        """The objects directly below the prefix, by name."""
        import obstore

        found = []
        with self._errors():
            for batch in obstore.list(self._store, self._prefix or None):
                for entry in batch:
                    name = entry["path"][len(self._prefix) :].lstrip("/")
                    if "/" not in name:
                        modified = entry["last_modified"]
                        found.append(StoredFile(id=name, size_bytes=entry["size"], datetime_modified=modified))
        return sorted(found, key=lambda file: file.id)

    # ---- requests that others send

    def sign_read(self, name: str) -> SignedRequest:
        """Lets whoever has it read one object."""
        return self._signer.sign("GET", self._address.url_of(name, for_workers=True))

    def sign_write(self, name: str, size_bytes: int, sha256: str) -> SignedRequest:
        """Lets whoever has it store one object: of this size, with this SHA-256 (in hex), both of which S3 checks."""
        headers = {
            "Content-Length": str(size_bytes),
            "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode(),
            "x-amz-sdk-checksum-algorithm": "SHA256",
        }
        return self._signer.sign("PUT", self._address.url_of(name, for_workers=True), headers)

    def find_stored(self, name: str) -> StoredObject | None:
        """What the server knows of an object; None when there is none."""
        size_bytes = self.find_size(name)
        if size_bytes is None:
            return None
        headers = {"x-amz-checksum-mode": "ENABLED"}
        answer = self._ask(self._signer.sign("HEAD", self._address.url_of(name), headers))
        told = answer.headers.get("x-amz-checksum-sha256", "") if answer.status == 200 else ""
        try:
            # That of an object that came in parts is one of the parts' checksums.
            digest = base64.b64decode(told, validate=True).hex() if told and "-" not in told else None
        except ValueError:
            digest = None
        return StoredObject(size_bytes, digest)

    def check(self) -> None:
        """Whether objects can be listed here, within a few seconds; says so when deleted ones go on taking space.

        Raises:
            UnreachableError: they cannot, with what to do.
        """
        answer = self._ask(self._signer.sign("GET", f"{self._address.base_url()}/?list-type=2&max-keys=1"))
        if answer.status != 200:
            region = find_region(answer)
            raise explain_failure(self.location, f"HTTP {answer.status} {answer.text}", region)
        versions = self._ask(self._signer.sign("GET", f"{self._address.base_url()}/?versioning"))
        if versions.status == 200 and "<Status>Enabled</Status>" in versions.text:
            _logger.warning(
                "%s: the bucket keeps versions, so what is deleted goes on taking space. Give it a lifecycle rule that "
                "expires versions that are not current.", self.location,
            )  # fmt: skip

    def _ask(self, request: SignedRequest) -> _Answer:
        """Send a request of our own, and read its answer."""
        connection = _connect(request.url, _CHECK_S)
        try:
            connection.request(request.method, _target_of(request.url), headers=request.headers)
            response: HTTPResponse = connection.getresponse()
            return _Answer(
                response.status, dict(response.headers.items()), response.read(_PIECE_BYTES).decode(errors="replace")
            )
        except (OSError, HTTPException) as e:
            raise StoreUnavailableError(
                f"{self.location}: its server at {urlsplit(request.url).netloc} cannot be reached: "
                f"{str(e) or type(e).__name__}. Correct endpoint= in the URL, or start the server."
            ) from e
        finally:
            connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except FileNotFoundError:
            raise
        except (PermissionDeniedError, UnauthenticatedError) as e:
            raise explain_failure(self.location, f"AccessDenied {e}") from e
        except (BaseError, OSError) as e:
            raise explain_failure(self.location, str(e)) from e


def _connect(url: str, timeout_s: float) -> HTTPConnection:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(str(parts.hostname), parts.port, timeout=timeout_s)


def _target_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}"


def _open(location: StoreLocation, address: S3Address) -> S3Store:
    try:
        importlib.import_module("botocore.auth")
        from obstore.store import S3Store
    except ImportError as e:
        raise ConfigError(f"{location}: stores on S3 need other packages: pip install 'rafiki-ml[s3]'.") from e
    keys = _keys_of(location, address.profile) if address.profile else {}
    # The library takes an endpoint that names the bucket when hosts name it.
    own = address.endpoint and (address.base_url() if address.is_virtual else address.endpoint)
    return S3Store(
        address.bucket,
        region=address.region,
        virtual_hosted_style_request=address.is_virtual,
        **({"endpoint": own} if own else {}),  # type: ignore[arg-type]
        **keys,  # type: ignore[arg-type]
        client_options={"allow_http": True, "timeout": timedelta(seconds=_TIMEOUT_S)},
        retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=_RETRY_FOR_S)},
    )


def _keys_of(location: StoreLocation, profile: str) -> dict[str, str]:
    file = Path.home() / ".aws" / "credentials"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file)
        section = parser[profile]
        return {
            "access_key_id": section["aws_access_key_id"],
            "secret_access_key": section["aws_secret_access_key"],
            **({"session_token": section["aws_session_token"]} if "aws_session_token" in section else {}),
        }
    except (KeyError, configparser.Error) as e:
        raise ConfigError(f"{location}: {file} has no keys of a profile {profile!r}.") from e

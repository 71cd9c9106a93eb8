"""Objects below one prefix of a bucket, with errors that say what to do."""

from __future__ import annotations

import configparser
import contextlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from rafiki.entities import StoredFile
from rafiki.errors import ConfigError, RafikiError, StoreFullError, UnreachableError
from rafiki.store_location import StoreLocation

if TYPE_CHECKING:
    from obstore.store import S3Store

_OPTIONS = frozenset({"endpoint", "region", "profile"})
_FULL = re.compile(r"quota|storagefull|insufficientstorage|no space|507|toomanybuckets", re.IGNORECASE)
_PIECE_BYTES = 1 << 20
_RETRY_FOR_S = 60
_TIMEOUT_S = 60


class Bucket:
    """May be used from several threads at once.

    Raises:
        ConfigError: the location is none of S3's, or the extra ``s3`` is not installed.
    """

    def __init__(self, location: StoreLocation) -> None:
        self.location = location
        self._prefix, self._store = _open(location)

    def put(self, name: str, content: bytes | IO[bytes]) -> None:
        """Store an object. It appears whole or not at all; large ones travel in parts.

        Raises:
            StoreFullError: the server has no space.
        """
        import obstore

        try:
            with self._errors():
                obstore.put(self._store, self._key(name), content)
        except FileNotFoundError as e:
            # An object that is being written need not be there: it is the bucket.
            raise _no_bucket(self.location) from e

    def find_size(self, name: str) -> int | None:
        """How many bytes an object has; None when there is none."""
        import obstore

        try:
            with self._errors():
                return int(obstore.head(self._store, self._key(name))["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str) -> Iterator[bytes] | None:
        """The bytes of an object in pieces; None when there is none."""
        import obstore

        try:
            with self._errors():
                found = obstore.get(self._store, self._key(name))
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
            obstore.delete(self._store, self._key(name))

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

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except FileNotFoundError:
            raise
        except (PermissionDeniedError, UnauthenticatedError) as e:
            raise UnreachableError(
                f"{self.location} refuses the credentials of the admin. Set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment that `rafiki up` runs in, or name a profile of "
                "~/.aws/credentials in the URL: ?profile=NAME."
            ) from e
        except (BaseError, OSError) as e:
            raise _failure(self.location, str(e)) from e


def _no_bucket(location: StoreLocation) -> RafikiError:
    return UnreachableError(f"{location}: there is no such bucket. Make it, or correct the URL.")


def _failure(location: StoreLocation, text: str) -> RafikiError:
    if _FULL.search(text):
        return StoreFullError(f"No space is left in {location}: free some space there, or raise its quota.")
    if "NoSuchBucket" in text:
        return _no_bucket(location)
    # The rest of it is the library's own debugging.
    return UnreachableError(f"{location} failed: {text.splitlines()[0][:300] if text else 'no reason was given'}")


def _open(location: StoreLocation) -> tuple[str, S3Store]:
    parts = urlsplit(location.url)
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    if parts.scheme != "s3" or not parts.hostname or parts.username or set(options) - _OPTIONS:
        raise ConfigError(
            f"{location}: write it as in s3://bucket/prefix?endpoint=http://host:9000&region=us-east-1; "
            "credentials are read from the environment, or with profile=NAME from ~/.aws/credentials."
        )
    try:
        from obstore.store import S3Store
    except ImportError as e:
        raise ConfigError(f"{location}: stores on S3 need another package: pip install 'rafiki-ml[s3]'.") from e
    keys = _keys_of(location, options["profile"]) if "profile" in options else {}
    endpoint = options.get("endpoint")
    store = S3Store(
        parts.netloc,
        region=options.get("region", "us-east-1"),
        **({"endpoint": endpoint, "virtual_hosted_style_request": False} if endpoint else {}),  # type: ignore[arg-type]
        **keys,  # type: ignore[arg-type]
        client_options={"allow_http": True, "timeout": timedelta(seconds=_TIMEOUT_S)},
        retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=_RETRY_FOR_S)},
    )
    return unquote(parts.path).strip("/"), store


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

"""What the URL of a bucket says: ``s3://bucket/prefix?endpoint=http://host:9000&region=us-east-1``."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec

from rafiki.errors import ConfigError
from rafiki.store_location import StoreLocation

DEFAULT_REGION = "us-east-1"
_OPTIONS = frozenset({"endpoint", "worker_endpoint", "region", "profile", "style"})
_REGION = re.compile(r"[a-z0-9-]+")
_ENDPOINT = re.compile(r"https?://[^/?#@\s]+/?")


class S3Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bucket is, and how it is named in requests."""

    bucket: str
    prefix: str
    """Of the keys; empty for none."""
    endpoint: str | None
    """None = that of AWS."""
    worker_endpoint: str | None
    """How workers reach it, where that differs."""
    region: str
    profile: str | None
    is_virtual: bool
    """Whether the bucket is named by the host (``bucket.host``) and not by the path (``host/bucket``)."""

    def base_url(self, *, for_workers: bool = False) -> str:
        """The address that keys are appended to, without a slash at its end."""
        endpoint = (self.worker_endpoint if for_workers else None) or self.endpoint
        parts = urlsplit(endpoint or f"https://s3.{self.region}.amazonaws.com")
        if self.is_virtual:
            return f"{parts.scheme}://{self.bucket}.{parts.netloc}"
        return f"{parts.scheme}://{parts.netloc}/{self.bucket}"

    def key_of(self, name: str) -> str:
        """The key of an object directly below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def url_of(self, name: str, *, for_workers: bool = False) -> str:
        """The address of an object."""
        return f"{self.base_url(for_workers=for_workers)}/{quote(self.key_of(name), safe='/~')}"


def parse_address(location: StoreLocation) -> S3Address:
    """What a location says.

    Raises:
        ConfigError: it is none of S3's.
    """
    parts = urlsplit(location.url)
    options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    endpoint, worker_endpoint = options.get("endpoint"), options.get("worker_endpoint")
    region, style = options.get("region", DEFAULT_REGION), options.get("style")
    is_right = (
        parts.scheme == "s3" and parts.hostname and not parts.username and not set(options) - _OPTIONS
        and style in (None, "path", "virtual") and _REGION.fullmatch(region)
        and all(_ENDPOINT.fullmatch(e) for e in (endpoint, worker_endpoint) if e is not None)
    )  # fmt: skip
    if not is_right:
        raise ConfigError(
            f"{location}: write it as in s3://bucket/prefix?endpoint=http://host:9000&region=us-east-1; also "
            "worker_endpoint=http://host:9000 and style=path or style=virtual. Credentials are read from the "
            "environment, or with profile=NAME from ~/.aws/credentials."
        )
    # A bucket with dots has no certificate as a host of AWS.
    is_virtual = style == "virtual" if style else endpoint is None and "." not in parts.netloc
    return S3Address(
        bucket=parts.netloc, prefix=unquote(parts.path).strip("/"), endpoint=endpoint and endpoint.rstrip("/"),
        worker_endpoint=worker_endpoint and worker_endpoint.rstrip("/"), region=region,
        profile=options.get("profile"), is_virtual=is_virtual,
    )  # fmt: skip

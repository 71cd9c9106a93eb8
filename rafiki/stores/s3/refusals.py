"""What S3 refuses with, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from rafiki.errors import RafikiError, StoreFullError, StoreUnavailableError, UnreachableError
from rafiki.store_location import StoreLocation

_FULL = re.compile(r"quota|storagefull|insufficientstorage|no space|507|toomanybuckets", re.IGNORECASE)
_SKEWED = re.compile(r"RequestTimeTooSkewed|Request has expired|RequestExpired")
_WRONG_REGION = re.compile(r"AuthorizationHeaderMalformed|PermanentRedirect|AuthorizationQueryParametersError|HTTP 301")
_WRONG_KEYS = re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken")
_DENIED = re.compile(r"AccessDenied|HTTP 40[13]")
_REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>|expecting '([a-z0-9-]+)'")


class _Answer(Protocol):
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def text(self) -> str: ...


def find_region(answer: _Answer) -> str | None:
    """The region that a refusal names as the right one; None when it names none."""
    for name, value in answer.headers.items():
        if name.lower() == "x-amz-bucket-region":
            return value
    found = _REGION.search(answer.text)
    return (found[1] or found[2]) if found else None


def no_bucket(location: StoreLocation) -> RafikiError:
    """There is no bucket."""
    return UnreachableError(f"{location}: there is no such bucket. Make it, or correct the URL.")


def explain_failure(location: StoreLocation, text: str, region: str | None = None) -> RafikiError:
    """The error that a refusal becomes.

    Args:
        location: of the store.
        text: of the refusal, with its code.
        region: the right one, if the server has named it.
    """
    if _FULL.search(text):
        return StoreFullError(f"No space is left in {location}: free some space there, or raise its quota.")
    if "NoSuchBucket" in text:
        return no_bucket(location)
    if _SKEWED.search(text):
        return UnreachableError(
            f"{location}: the clocks of the admin and of the store differ by more than S3 allows (15 minutes). "
            "Set this machine's clock."
        )
    if _WRONG_REGION.search(text):
        where = f"in the region {region}: write region={region}" if region else "in another region: write region=NAME"
        return UnreachableError(f"{location}: the bucket is {where} in the URL of the store.")
    if _WRONG_KEYS.search(text):
        return UnreachableError(
            f"{location} refuses the credentials of the admin: it does not know them. Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the environment that `rafiki up` runs in, or name a profile of "
            "~/.aws/credentials in the URL: ?profile=NAME."
        )
    if _DENIED.search(text):
        return UnreachableError(
            f"{location} refuses the credentials of the admin: they may not do this. Allow s3:ListBucket on the "
            "bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject on its objects; or set other AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY in the environment that `rafiki up` runs in."
        )
    # The rest of it is the library's own debugging.
    return StoreUnavailableError(f"{location} failed: {text.splitlines()[0][:300] if text else 'no reason was given'}")

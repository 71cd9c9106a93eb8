"""Signs requests for objects of a bucket (AWS Signature Version 4, in the query), with the admin's credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rafiki.errors import UnreachableError
from rafiki.signed_request import SignedRequest
from rafiki.store_location import StoreLocation
from rafiki.stores.s3.address import S3Address

if TYPE_CHECKING:
    from botocore.credentials import Credentials

VALID_S = 300
"""How long a signed request may be sent: what it began goes on, and the service door signs another."""


class Signer:
    """Of one bucket. May be used from several threads at once."""

    def __init__(self, location: StoreLocation, address: S3Address) -> None:
        self._location = location
        self._address = address
        self._credentials: Credentials | None = None

    def sign(
        self, method: str, url: str, headers: dict[str, str] | None = None, *, valid_s: int = VALID_S
    ) -> SignedRequest:
        """A request that may be sent from now on, with exactly these headers.

        Raises:
            UnreachableError: there are no credentials.
        """
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method, url, headers=dict(headers or {}))
        S3SigV4QueryAuth(self._get_credentials(), "s3", self._address.region, valid_s).add_auth(request)
        return SignedRequest(method=method, url=request.url, headers=headers or {})

    def _get_credentials(self) -> Credentials:
        """Those that the environment or the profile has; the ones that expire renew themselves."""
        if self._credentials is None:
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session

            try:
                self._credentials = Session(profile=self._address.profile).get_credentials()
            except BotoCoreError as e:
                raise UnreachableError(f"{self._location}: the credentials cannot be read: {e}") from e
        if self._credentials is None:
            raise UnreachableError(
                f"{self._location}: there are no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
                "environment that `rafiki up` runs in."
            )
        return self._credentials

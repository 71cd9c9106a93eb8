"""The calls of services that run elsewhere: their specs and the stores of their jobs, each with a token of its own.

A service's token is valid while the service is live, and reaches what its job needs. The admin has made it: no user
is given one.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from rafiki.errors import (
    DamagedFileError,
    InvalidDatasetError,
    InvalidRequestError,
    InvalidServiceError,
    InvalidTrialError,
    RafikiError,
    RequestTooLargeError,
    StoreFullError,
    StoreUnavailableError,
    UnauthorizedError,
    UnreachableError,
)
from rafiki.signed_request import SignedRequest

STORES = "/stores"
"""Below it are the calls of the stores."""

StoredId: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f-]{36}\.[0-9a-f]{64}$")]
"""A UUID, a dot, the SHA-256 of the contents."""
Bytes: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class ById(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for what is stored under an id."""

    id: StoredId
    """Of the dataset, or of the parameters."""


class ReadStored(ById, frozen=True, kw_only=True):
    """A request for bytes."""

    direct: bool = False
    """Whether the answer may be a redirect to the store itself."""


class ReadValidation(ById, frozen=True, kw_only=True):
    """A request for what stands beside parameters."""

    max_bytes: Bytes
    """Larger ones are not sent: the answer is empty."""


class SizedParams(ById, frozen=True, kw_only=True):
    """A request about parameters that travel to the store itself."""

    size_bytes: Bytes
    """How large they are."""


class ParamsUpload(msgspec.Struct, frozen=True, kw_only=True):
    """How parameters are to be stored."""

    signed: SignedRequest | None
    """What stores them where they are kept; null = they are put through the admin."""
    is_offered: bool
    """Whether others may be stored so: if not, nobody need ask again."""


class ServiceCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of services. Every one may be refused with UnauthorizedError and RequestTooLargeError."""

    name: str
    method: Literal["GET", "PUT", "POST", "DELETE"]
    path: str
    """With ``{id}``, which travels in the path."""
    request: type[msgspec.Struct] | None
    """The fields; those that are not in the path travel in the query of a GET, else as JSON in the body."""
    response: object
    """The type of the JSON answer; ``bytes``; None = JSON null."""
    summary: str
    who: str
    """Which services may call it."""
    refusals: tuple[type[RafikiError], ...] = ()
    """What this one in particular is refused with."""
    takes_bytes: bool = False
    """The body is bytes, and the fields are in the path."""
    has_head: bool = False
    """``HEAD`` is answered too: by the headers of the answer alone."""
    is_ranged: bool = False
    """Takes ``Range: bytes=N-M``, and answers 206 then."""
    redirects: bool = False
    """May answer 307, with the address in ``Location``: it is fetched without the token."""


_ALWAYS = (UnauthorizedError, RequestTooLargeError)
_STORE = (StoreFullError, StoreUnavailableError, UnreachableError)

SERVICE_CALLS: dict[str, ServiceCall] = {
    call.name: call
    for call in (
        ServiceCall(
            name="get_own_spec", method="GET", path="/services/self/spec", request=None, response=bytes,
            summary="What the service is to do, in MessagePack.", who="any service", refusals=(InvalidServiceError,),
        ),
        ServiceCall(
            name="read_dataset", method="GET", path=f"{STORES}/datasets/{{id}}", request=ReadStored, response=bytes,
            summary="The bytes of a dataset.", who="train workers, the two datasets of their job", has_head=True,
            is_ranged=True, redirects=True, refusals=(InvalidDatasetError, InvalidRequestError, *_STORE),
        ),
        ServiceCall(
            name="read_params", method="GET", path=f"{STORES}/params/{{id}}", request=ReadStored, response=bytes,
            summary="Parameters, a safetensors file.", redirects=True, refusals=(InvalidTrialError, *_STORE),
            who="inference workers, those of their trial; train workers, those of their search",
        ),
        ServiceCall(
            name="put_params", method="PUT", path=f"{STORES}/params/{{id}}", request=ById, response=None,
            takes_bytes=True, who="train workers", refusals=(InvalidTrialError, DamagedFileError, *_STORE),
            summary="Stores new parameters; answered when they are stored. What is there already stays as it is.",
        ),
        ServiceCall(
            name="begin_upload", method="POST", path=f"{STORES}/params/{{id}}/upload", request=SizedParams,
            response=ParamsUpload, who="train workers", refusals=(InvalidTrialError, InvalidRequestError, *_STORE),
            summary="A signed request that stores new parameters where they are kept, without the admin in between.",
        ),
        ServiceCall(
            name="end_upload", method="POST", path=f"{STORES}/params/{{id}}/stored", request=SizedParams,
            response=None, who="train workers, for an upload that their search has begun",
            refusals=(InvalidTrialError, DamagedFileError, InvalidRequestError, *_STORE),
            summary="The signed request was sent: the admin compares what is stored with the size and the checksum.",
        ),
        ServiceCall(
            name="delete_params", method="DELETE", path=f"{STORES}/params/{{id}}", request=ById, response=None,
            summary="Removes parameters.", who="advisors, checkpoints of their search", refusals=_STORE,
        ),
        ServiceCall(
            name="put_validation", method="PUT", path=f"{STORES}/validation/{{id}}", request=ById, response=None,
            takes_bytes=True, who="train workers, beside parameters of their search",
            summary="Stores validation predictions beside parameters: a safetensors file.",
            refusals=(InvalidTrialError, *_STORE),
        ),
        ServiceCall(
            name="read_validation", method="GET", path=f"{STORES}/validation/{{id}}", request=ReadValidation,
            response=bytes, who="as `read_params`", has_head=True, refusals=(InvalidRequestError, *_STORE),
            summary="What stands beside parameters; nothing when there is nothing.",
        ),
        ServiceCall(
            name="delete_validation", method="DELETE", path=f"{STORES}/validation/{{id}}", request=ById, response=None,
            summary="Removes what stands beside parameters.", who="train workers, those of their search",
            refusals=_STORE,
        ),
    )
}  # fmt: skip
"""By name."""


def refusals_of(call: ServiceCall) -> list[type[RafikiError]]:
    """Everything that a call may be refused with, once each."""
    return list(dict.fromkeys([*_ALWAYS, *call.refusals]))

"""Who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from rafiki.contract.endpoint import ADMINS, AnyEndpoint, Endpoint, RequestStruct

DEFAULT_AUDIT_COUNT = 100


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    time: datetime
    """When it was answered."""
    action: str
    """``login``, ``user.ban``, ``train.stop`` ..."""
    user: str | None
    """Email of whoever called, or that a login named; null without a valid token."""
    user_id: str | None = None
    """Null where nobody was logged in."""
    address: str | None = None
    """Where the call came from."""
    subject: dict[str, str] = {}
    """What was done with it: the fields that name it, and the id that it was given; never a secret."""
    result: str = "ok"
    """``ok``, or the name of the error that refused it."""


class ListAuditRequest(RequestStruct, frozen=True, kw_only=True):
    user: str | None = None
    """Email: what this user did, and what was tried in their name."""
    action: str | None = None
    """An action, or its first word: ``user`` is ``user.create``, ``user.ban`` and so on."""
    since: datetime | None = None
    """Nothing that is older."""
    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = DEFAULT_AUDIT_COUNT
    """The newest so many."""


GET_AUDIT: Endpoint[ListAuditRequest, list[AuditEntry]] = Endpoint(
    name="get_audit", method="GET", path="/audit", request=ListAuditRequest, response=list[AuditEntry], roles=ADMINS,
    summary="Who did what, from where, when and with which result, oldest first.",
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [GET_AUDIT]

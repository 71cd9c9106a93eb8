"""Freeing what is not needed any more."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rafiki.constants import GarbageKind
from rafiki.contract.endpoint import ADMINS, INSTALL_TIMEOUT_S, AnyEndpoint, Audited, Endpoint, RequestStruct

DEFAULT_KEEP = 10
"""Choosing an ensemble looks at the ten best trials of each model: with these kept, it loses nothing."""
DEFAULT_OLDER_THAN_S = 7 * 24 * 3600.0


class CollectGarbageRequest(RequestStruct, frozen=True, kw_only=True):
    what: list[GarbageKind] | None = None
    """None = all kinds; files that nothing refers to then go only from stores in the stack's own folder."""
    keep: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = DEFAULT_KEEP
    """The best trials of each model of each train job whose parameters stay."""
    older_than_s: Annotated[float, msgspec.Meta(ge=0, le=1e10)] = DEFAULT_OLDER_THAN_S
    """Nothing goes that was of use within this time."""
    apply: bool = False
    """False = only list what would go."""
    only: list[str] | None = None
    """Ids of items that were listed before: whatever else could go by now stays."""


class GarbageItemView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: GarbageKind
    name: str
    size_bytes: int
    reason: str
    is_freed: bool
    error: str | None
    """Why it was not freed though it should be."""


class GarbageView(msgspec.Struct, frozen=True, kw_only=True):
    is_applied: bool
    items: list[GarbageItemView]
    size_bytes: int
    """Of all items that are freed, or would be."""


COLLECT_GARBAGE: Endpoint[CollectGarbageRequest, GarbageView] = Endpoint(
    name="collect_garbage", method="POST", path="/actions/collect_garbage", request=CollectGarbageRequest,
    response=GarbageView, timeout_s=INSTALL_TIMEOUT_S, roles=ADMINS,
    summary="Free parameters, environments, logs and files that are not needed any more, or list what would go.",
    audited=Audited("gc", ("apply", "size_bytes")),
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [COLLECT_GARBAGE]

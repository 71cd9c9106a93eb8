"""What the nouns of the published client share: calls of the contract, with plain dicts and lists as answers."""

from __future__ import annotations

from typing import Any, cast

from rafiki.client.connection import AdminConnection
from rafiki.contract.endpoint import AnyEndpoint

Json = dict[str, Any]


class Calls(AdminConnection):
    """Base of the nouns."""

    def _one(self, endpoint: AnyEndpoint, **fields: Any) -> Json:
        return cast(Json, self._caller.call_plain(endpoint, **fields))

    def _many(self, endpoint: AnyEndpoint, **fields: Any) -> list[Json]:
        return cast("list[Json]", self._caller.call_plain(endpoint, **fields))

"""What the client's nouns share: calls of the contract, with plain dicts and lists as answers."""

from __future__ import annotations

from typing import Any, cast

from rafiki.client.transport import ContractCaller
from rafiki.contract.endpoint import Endpoint

Json = dict[str, Any]


class Calls:
    """Base of the nouns."""

    _caller: ContractCaller

    def _one(self, endpoint: Endpoint[Any], timeout_s: float | None = None, **fields: Any) -> Json:
        return cast(Json, self._caller.call(endpoint, timeout_s=timeout_s, **fields))

    def _many(self, endpoint: Endpoint[Any], **fields: Any) -> list[Json]:
        return cast("list[Json]", self._caller.call(endpoint, **fields))

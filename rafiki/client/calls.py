"""What the nouns of the published client share: calls of the contract, with plain dicts and lists as answers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import cast

from rafiki.budget import explain_unknown
from rafiki.client.connection import AdminConnection
from rafiki.client.http_server import Progress
from rafiki.client.plain_answers import Json
from rafiki.constants import BudgetOption, InferenceBudgetOption
from rafiki.contract.endpoint import AnyEndpoint


class Calls(AdminConnection):
    """Base of the nouns."""

    def _one(self, endpoint: AnyEndpoint, *, progress: Progress | None = None, **fields: object) -> Json:
        return cast(Json, self._caller.call_plain(endpoint, fields, progress=progress))

    def _many(self, endpoint: AnyEndpoint, **fields: object) -> list[Json]:
        return cast("list[Json]", self._caller.call_plain(endpoint, fields))


def warn_of_unknown_options(
    budget: Mapping[str, object] | None, options: type[BudgetOption] | type[InferenceBudgetOption]
) -> None:
    """Warn the caller of a method of options that mean nothing."""
    for warning in explain_unknown(budget, options):
        warnings.warn(warning, stacklevel=3)

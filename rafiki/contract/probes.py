"""What the admin and predictors answer to whoever only wants to know whether they live and can do their work."""

from __future__ import annotations

from typing import Literal

import msgspec

HEALTH_PAGE, READY_PAGE = "/healthz", "/readyz"
PAGES = {HEALTH_PAGE: "get_healthz", READY_PAGE: "get_readyz"}
"""Of the admin: pages, and no calls of a client."""
HEALTHY = b'{"status":"ok"}'


class ReadyView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    status: Literal["ready", "not ready"]
    reason: str | None = None
    """What keeps it from its work; absent when nothing does."""
    members: dict[str, int] | None = None
    """Of a predictor: how many workers each member of the ensemble (the id of a trial) has."""


def page_paths(ready: object) -> dict[str, dict[str, object]]:
    """The pages in an OpenAPI document.

    Args:
        ready: the schema of a :class:`ReadyView`.
    """
    healthy = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    return {
        HEALTH_PAGE: _path(HEALTH_PAGE, "Whether the admin's process lives.", {"200": _answer("It does", healthy)}),
        READY_PAGE: _path(
            READY_PAGE,
            "Whether the admin can do its work: database, cache and supervisor.",
            {"200": _answer("It can", ready), "503": _answer("It cannot, with the reason", ready)},
        ),
    }


def _answer(description: str, schema: object) -> object:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _path(page: str, summary: str, responses: dict[str, object]) -> dict[str, object]:
    return {"get": {"operationId": PAGES[page], "summary": summary, "responses": responses, "security": []}}

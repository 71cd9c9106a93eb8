"""What the admin answers to whoever watches it: whether it lives, and whether it can do its work."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from support.http.raw_http import check_refusal
from support.stacks.admin_people import People

from rafiki.admin import watch_pages
from rafiki.errors import CacheUnavailableError, MetaStoreError, RafikiError, StackError


def test_whoever_asks_hears_that_the_admin_lives_and_is_ready(people: People) -> None:
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        assert people.nobody.ok("GET", path) == {"status": status}
        head = people.nobody.send("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        check_refusal(people.nobody.send("POST", path), "MethodNotAllowedError", 405)


@pytest.mark.parametrize(
    ("of_health", "of_supervisor", "reason"),
    [
        ([CacheUnavailableError("The cache is away.")], [], "The cache is away."),
        ([MetaStoreError("The database is locked.")], [MetaStoreError("It, too.")], "The database is locked."),
        ([], [StackError("The supervisor has ended.")], "The supervisor has ended."),
    ],
    ids=["cache", "database", "supervisor"],
)
def test_an_admin_that_cannot_do_its_work_lives_and_is_not_ready_and_says_why(
    of_health: list[RafikiError], of_supervisor: list[RafikiError], reason: str
) -> None:
    context: Any = SimpleNamespace(
        health=SimpleNamespace(find_errors=lambda: of_health),
        supervisor=SimpleNamespace(find_errors=lambda: of_supervisor),
    )
    transport = httpx.ASGITransport(Starlette(routes=watch_pages.routes(context)))

    async def ask(path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
            return await client.get(path)

    answer = asyncio.run(ask("/readyz"))
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "reason": reason})
    assert asyncio.run(ask("/healthz")).json() == {"status": "ok"}

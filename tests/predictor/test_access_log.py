"""A line of the log for each request, where that is asked for."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from rafiki.admin.counters import AdminCounters
from rafiki.admin.watched_app import USER_KEY, WatchedApp
from rafiki.contract.access_log import watch_answer
from rafiki.key_file import hash_key
from rafiki.utils.logs import JsonFormatter, TextFormatter

TRACE = "0af7651916cd43dd8448eb211c80319c"
LOGGER = "rafiki.contract.access_log"


def scope(path: str = "/predict", **headers: str) -> dict[str, Any]:
    return {
        "type": "http", "method": "POST", "path": path, "query_string": b"token=secret", "client": ("10.0.0.9", 4711),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip


async def nothing(message: Any = None) -> Any:
    return None


def answer(asked: dict[str, Any], status: int, *parts: bytes) -> None:
    async def run() -> None:
        send = watch_answer(asked, nothing)
        await send({"type": "http.response.start", "status": status})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": part is not parts[-1]})

    asyncio.run(run())


def test_a_request_is_one_line_with_its_key_by_a_hash_and_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    asked = scope(authorization="Bearer rk_secret", traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    answer(asked, 200, b"12", b"345")
    [record] = caplog.records
    key = hash_key(b"rk_secret")[:12]
    line = TextFormatter({}).format(record)
    assert '10.0.0.9 "POST /predict" 200 5 ' in line
    assert line.endswith(f"ms key={key} trace={TRACE}")
    told = json.loads(JsonFormatter({}).format(record))
    assert {**told["access"], "ms": 0} == {
        "address": "10.0.0.9", "method": "POST", "path": "/predict", "status": 200, "bytes": 5, "ms": 0, "user": None,
        "key": key, "trace": TRACE,
    }  # fmt: skip
    assert "secret" not in line + json.dumps(told)


def test_nobody_writes_a_line_of_their_own_nor_a_key_that_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    answer(scope('/x\n2026 ERROR "forged"' + "y" * 5000, authorization="Bearer guess"), 401, b"")
    [record] = caplog.records
    line = TextFormatter({}).format(record)
    assert "\n" not in line
    assert "\\n2026 ERROR %22forged%22" in line
    assert len(line) < 400
    assert "key=" not in line


def test_the_admin_logs_who_asked_and_counts_the_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)

    async def app(asked: Any, receive: Any, send: Any) -> None:
        asked[USER_KEY] = "the id of a user"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"{}"})

    counters = AdminCounters()
    for has_log in (False, True):
        watched = WatchedApp(app, counters, has_log=has_log)
        asyncio.run(watched(scope("/models", authorization="Bearer token"), nothing, nothing))
    [record] = caplog.records
    assert TextFormatter({}).format(record).endswith("ms user=the id of a user")
    assert counters.requests() == [(("other", 200), 2)]

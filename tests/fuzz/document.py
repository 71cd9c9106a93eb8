"""Whether an answer is one that the OpenAPI document describes: status, content type, schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx
import jsonschema

from rafiki.contract.all import openapi

DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi("0")))


@cache
def _validator(path: str, method: str, status: str, kind: str) -> jsonschema.Draft202012Validator:
    schema = DOCUMENT["paths"][path][method]["responses"][status]["content"][kind]["schema"]
    return jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def check_answer(path: str, method: str, answer: httpx.Response, first_event: str | None = None) -> None:
    """Fails the test unless the document describes the answer of an operation.

    Args:
        path: of the operation, as the document has it.
        first_event: what is read of a stream: its answer is not read to the end.
    """
    responses = DOCUMENT["paths"][path][method]["responses"]
    status, told = str(answer.status_code), f"{method} {path}: {answer.status_code}"
    assert answer.status_code < 500, f"{told} {answer.text[:500]}"
    key = status if status in responses else f"{status[0]}XX"
    assert key in responses, f"{told} is not described"
    content = responses[key].get("content", {})
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert kind in content, f"{told} has the content type {kind!r}, not {sorted(content)}"
    value: Any
    if kind == "text/event-stream":
        if not (lines := [line for line in (first_event or "").splitlines() if line.startswith("data:")]):
            return
        value = json.loads(lines[0].removeprefix("data:"))
    elif kind == "application/json":
        value = answer.json()
    else:
        return
    if errors := [e.message[:300] for e in _validator(path, method, key, kind).iter_errors(value)]:
        raise AssertionError(f"{told}: {errors[0]}; in {json.dumps(value)[:500]}")

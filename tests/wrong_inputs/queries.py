"""Queries of the five tasks and of a custom one, and what is no request of a predictor."""

from __future__ import annotations

import base64
import json
from typing import Any

from support.data.task_files import wav
from wrong_inputs.table import Request, Row, row
from wrong_inputs.world import CLASSES, CUSTOM, IMAGES, NUMBERS, SPEECH, TAGS

INVALID, INVALID_QUERY, FAILED = "InvalidRequestError", "InvalidQueryError", "ModelPredictError"
TAKES = {
    IMAGES: "W x H x 3", TAGS: "list of tokens", CLASSES: "feature -> text", NUMBERS: "feature -> text",
    SPEECH: "wav file as base64", CUSTOM: "no valid JSON",
}  # fmt: skip
GREY = [[[128, 128, 128]]]


def predict(task: str, body: bytes) -> Request:
    return Request("POST", "/predict", {"content": body}, at=task)


def ask(task: str, **fields: Any) -> Request:
    return predict(task, json.dumps(fields).encode())


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def picture(*pixel: int) -> list[list[list[int]]]:
    return [[list(pixel)] * 2] * 2


WRONG: dict[str, dict[str, tuple[Any, str]]] = {
    IMAGES: {
        "a text": ("picture", '"picture" came'), "a long text": ("x" * 99_999, "xxx"), "a number": (3, "3 came"),
        "true": (True, "true came"), "an object": ({"pixels": GREY}, "pixels"), "empty": ([], "empty list"),
        "rows of nothing": ([[]], "1 x 0"), "flat": ([1, 2, 3], "shape 3"), "ragged": ([[1, 2], [3]], "ragged"),
        "ragged in its depth": ([[1], [[2]]], "[2] came"), "of 2 channels": ([[[1, 2]]], "1 x 1 x 2"),
        "of 5 channels": ([[[1, 2, 3, 4, 5]]], "1 x 1 x 5"), "of 4 levels": ([[[[1]]]], "1 x 1 x 1 x 1"),
        "of texts": ([["1", "2"]], '"1" came'), "with null": ([[1, None]], "null came"), "of truth": ([[True]],
            "true came"),
        "below 0": ([[0, -1]], "-1 came"), "above 255": ([[256]], "256 came"), "just above 255": ([[255.5]],
            "255.5 came"),
        "with a huge number": ([[10**30]], "10000"), "an image in base64": (in_base64(b"\x89PNG"), "iVBORw"),
    },
    TAGS: {
        "a sentence": ("the cat", "`str`"), "no tokens": ([], "empty"), "an empty token": (["a", ""],
            "token 1 is empty"),
        "a number among tokens": (["a", 7], "$[1]"), "null among tokens": ([None], "$[0]"), "nested": ([["a"]], "$[0]"),
        "an object": ({"tokens": ["a"]}, "`object`"), "a number": (3, "`int`"),
    },
    CLASSES: {
        "a list": ([1, 2], "`array`"), "a list of rows": ([{"x": 1}], "`array`"), "a text": ("x=1", "`str`"),
        "a number": (3, "`int`"), "a list as value": ({"x": [1]}, "'x'"), "an object as value": ({"a": 1,
            "b": {"y": 1}}, "'b'"),
    },
    NUMBERS: {
        "a list": ([1, 2], "`array`"), "a text": ("1", "`str`"), "true": (True, "`bool`"),
        "a list as value": ({"x": [[1]]}, "'x'"),
    },
    SPEECH: {
        "no base64": ("!!", "base64"), "base64 for URLs": ("UklGRg_-", "base64"), "base64 that is cut off": ("UklGR",
            "base64"),
        "a data URL": ("data:audio/wav;base64,UklGRg==", "base64"), "accents": ("caf\u00e9", "ASCII"), "empty": ("",
            "0 bytes"),
        "an mp3": (in_base64(b"ID3\0 an mp3"), "11 bytes"), "a header alone": (in_base64(b"RIFF0000WAVE"),
            "no wav file"),
        "a list of bytes": ([82, 73], "`array`"), "an object": ({"wav": "x"}, "`object`"), "a path": (7, "`int`"),
    },
}  # fmt: skip
POISON: dict[str, dict[str, tuple[Any, tuple[str, ...]]]] = {
    IMAGES: {
        "that fails": (picture(255, 255, 255), ("predict() failed", "ValueError: a white picture", "line")),
        "without an answer": (picture(255, 0, 0), ("predict() returned 0 predictions",)),
        "with NaN for an answer": (picture(0, 0, 255), ("finite probability", "nan")),
    },
    TAGS: {
        "that fails": (["poison"], ("predict() failed", "KeyError", "line")),
        "with a text for a tag": (["spoils"], ("integer tag", "'noun'")),
    },
    CLASSES: {"that fails": ({"x": "poison"}, ("ZeroDivisionError: poison", "line"))},
    NUMBERS: {"with infinity for an answer": ({"x": "poison"}, ("finite number", "inf"))},
    SPEECH: {"that is cut off": (in_base64(wav()[:40]), ("predict() failed", "line"))},
}  # fmt: skip
BROKEN: dict[str, dict[bytes, str]] = {
    IMAGES: {b'"\xff"': "not UTF-8", b"[[1e400]]": "out of range", b"[[" + b"9" * 5000 + b"]]": "out of range"},
    TAGS: {b'["\xff"]': "not UTF-8", b'["\xed\xa0\x80"]': "not UTF-8"},
    CLASSES: {b'{"\xff": 1}': "not UTF-8", b'{"x": "\xed\xa0\x80"}': "not UTF-8", b'{"x": 1e400}': "out of range"},
    NUMBERS: {b'{"x": "\xff"}': "not UTF-8", b'{"x": -1e400}': "out of range"},
    SPEECH: {b'"\xff"': "not UTF-8"},
    CUSTOM: {b'"\xff"': "not UTF-8", b"1e400": "out of range", b"9" * 5000: "out of range"},
}
"""Well-formed for the predictor, which passes queries on unparsed; found where they are parsed."""
BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "queries"), "no JSON": (b"query=3", "'q' cannot stand at byte 0"),
    "cut off": (b'{"query": [[', "cut off"),
    "with more behind it": (b'{"query": 1} {}', "byte 13"), "a list": (b"[1]", "`array`"), "null": (b"null", "`null`"),
    "in single quotes": (b"{'query': 1}", "byte 1"),
    "with a comma too many": (b'{"query": [1,]}', "']' cannot stand at byte 13"),
    "in UTF-16": ('{"query": 1}'.encode("utf-16"), "not UTF-8"),
    "with NaN": (b'{"query": NaN}', "NaN"), "with Infinity": (b'{"query": -Infinity}', "-Infinity"),
    "with a leading zero": (b'{"query": [[01]]}', "byte 13"), "with a raw NUL": (b'{"query": "\0"}', "byte 11"),
    "with half a surrogate pair": (b'{"query": "\\udc00"}', "half of a surrogate pair"),
    "with a number for a key": (b'{"query": {1: 2}}', "byte 11"),
    "nested without end": (b'{"query": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
    "opened without end": (b'{"query": ' + b'{"a":' * 50_000, "nested too deeply"),
    "with a field not in UTF-8": (b'{"query": 1, "\xff": 2}', "not UTF-8"),
    "neither": (b"{}", '"query" or "queries"'), "null as query": (b'{"query": null}', '"query" or "queries"'),
    "null as queries": (b'{"queries": null}', '"query" or "queries"'),
    "both": (b'{"query": 1, "queries": [1]}', '"query" or "queries"'),
    "an object as queries": (b'{"queries": {"0": 1}}', "queries"),
    "a text as queries": (b'{"queries": "ab"}', "queries"), "an unknown field": (b'{"query": 1, "model": 2}',
        "`model`"),
    "in capitals": (b'{"Query": 1}', "`Query`"), "no time": (b'{"query": 1, "timeout_ms": 0}', '"timeout_ms"'),
    "less than no time": (b'{"query": 1, "timeout_ms": -1}', '"timeout_ms"'),
    "time as text": (b'{"query": 1, "timeout_ms": "1"}', "timeout_ms"),
    "time as truth": (b'{"query": 1, "timeout_ms": true}', "timeout_ms"),
    "time without end": (b'{"query": 1, "timeout_ms": 1e999}', "1e999 is out of range"),
}  # fmt: skip


def of_tasks() -> list[Row]:
    rows = [
        row(f"queries: {task} {what}", "nobody", ask(task, query=query), 400, INVALID_QUERY, TAKES[task], says)
        for task, wrong in WRONG.items() for what, (query, says) in wrong.items()
    ]  # fmt: skip
    rows += [
        row(f"queries: {task} {what}", "nobody", ask(task, query=query), 422, FAILED, *says)
        for task, wrong in POISON.items() for what, (query, says) in wrong.items()
    ]  # fmt: skip
    return rows + [
        row(f"queries: {task} {raw!r:.20}", "nobody", predict(task, b'{"query": %b}' % raw), 400, INVALID_QUERY, says)
        for task, wrong in BROKEN.items() for raw, says in wrong.items()
    ]  # fmt: skip


ROWS: list[Row] = [
    *of_tasks(),
    *(row(f"queries: body {what}", "nobody", predict(CUSTOM, body), 400, INVALID, says) for what, (body,
        says) in BODIES.items()),
    row("queries: one of many is wrong", "nobody", ask(IMAGES, queries=[GREY, "picture", GREY]), 400, INVALID_QUERY,
        "Query 1",
        "W x H x 3"),
    row("queries: one of many is null", "nobody", ask(TAGS, queries=[["a"], ["b"], None]), 400, INVALID_QUERY,
        "Query 2"),
    row("queries: one of many fails", "nobody", ask(CLASSES, queries=[{"x": 1}, {"x": "poison"}]), 422, FAILED,
        "Query 1"),
    row("queries: of another task", "nobody", ask(NUMBERS, query=GREY), 400, INVALID_QUERY, "feature -> text"),
    row("queries: more than wait at once", "nobody", ask(CUSTOM, queries=[1] * 65), 429, "PredictorBusyError",
        "65 queries",
        "(64)"),
    row("queries: body of 2 MB", "nobody", ask(CUSTOM, query="x" * (2 << 20)), 413, "RequestTooLargeError", "1 MB",
        "predictor.max_body_mb"),
    row("queries: body of form data", "nobody", Request("POST", "/predict", {"data": {"query": "1"}}, CUSTOM), 400,
        INVALID,
        "byte 0"),
    row("queries: body of a form with a file", "nobody", Request("POST", "/predict", {"files": {"query": ("q", b"1")}},
        CUSTOM),
        400, INVALID, "byte 0"),
    row("queries: body packed by gzip", "nobody", Request("POST", "/predict", {
        "content": b"\x1f\x8b\x08\0", "headers": {"content-encoding": "gzip"}}, CUSTOM), 400, INVALID, "no whole gzip"),
    row("queries: GET", "nobody", Request("GET", "/predict", {}, CUSTOM), 405, "MethodNotAllowedError",
        "/predict takes POST"),
    row("queries: DELETE", "nobody", Request("DELETE", "/predict", {}, CUSTOM), 405, "MethodNotAllowedError", "POST"),
    row("queries: POST to the root", "nobody", Request("POST", "/", {"json": {"query": 1}}, CUSTOM), 405,
        "MethodNotAllowedError", "/ takes GET"),
    row("queries: another path", "nobody", Request("POST", "/predictions", {"json": {"query": 1}}, CUSTOM), 404,
        "NotFoundError",
        "/predictions", "/predict"),
    row("queries: a slash more", "nobody", Request("POST", "/predict/", {"json": {"query": 1}}, CUSTOM), 404,
        "NotFoundError",
        "/predict/"),
    row("queries: a path of 9,000 characters", "nobody", Request("GET", "/" + "x" * 9000, {}, CUSTOM), 404,
        "NotFoundError"),
]  # fmt: skip

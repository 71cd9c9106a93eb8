"""What is wrong whatever it asks for: HTTP, methods, paths, content types, JSON and form data."""

from __future__ import annotations

import json
from typing import Any

from wrong_inputs.table import ADMIN, RawRequest, Request, Row, get, post, raw_body, row
from wrong_inputs.world import CUSTOM

INVALID, TOO_LARGE = "InvalidRequestError", "RequestTooLargeError"
MULTIPART = "multipart/form-data; boundary=b"
HOST = b"Host: x\r\nConnection: close\r\nAuthorization: Bearer %TOKEN\r\n"


def http(head: bytes, body: bytes = b"", at: str = ADMIN) -> RawRequest:
    return RawRequest(head + b"\r\n" + HOST + b"\r\n" + body, at)


def part(name: str, value: bytes, more: str = "", header: str = "") -> bytes:
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"{more}\r\n{header}\r\n'
    return head.encode() + value + b"\r\n"


def form(*parts: bytes, kind: str = MULTIPART, end: bytes = b"--b--\r\n") -> Request:
    return raw_body("/datasets", b"".join(parts) + end, kind)


NAME, TASK, FILE = part("name", b"d"), part("task", b"CUSTOM"), part("dataset", b"x", '; filename="d"')
BODIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "not JSON": (b"app=x", ("no valid JSON", "byte 0")), "cut off": (b'{"app": "x"', ("no valid JSON", "cut off")),
    "an array": (b"[]", ("JSON object",)), "null": (b"null", ("JSON object",)), "a text": (b'"app"', ("JSON object",)),
    "with more behind it": (b'{"app": "x"} {}', ("byte 13",)), "with a comment": (b'{"app": "x" // y\n}',
        ("byte 12",)),
    "in UTF-16": ('{"app": "x"}'.encode("utf-16"), ("not UTF-8",)),
    "not UTF-8": (b'{"app": "\xff"}', ("not UTF-8",)), "with a field not in UTF-8": (b'{"\xff": 1}', ("not UTF-8",)),
    "with a raw NUL": (b'{"app": "\0"}', ("byte 9",)),
    "with NaN": (b'{"app": "x", "budget": {"TIME_HOURS": NaN}}', ("NaN",)),
    "with Infinity": (b'{"app": "x", "budget": {"TIME_HOURS": Infinity}}', ("Infinity",)),
    "with a number out of range": (b'{"app": "x", "budget": {"TIME_HOURS": 1e999}}', ("out of range",)),
    "with a number of 5,000 digits": (b'{"app": ' + b"9" * 5000 + b"}", ("out of range",)),
    "with half a surrogate pair": (b'{"app": "\\udc00"}', ("half of a surrogate pair",)),
    "with a field twice": (b'{"app": "x", "app": "y"}', ("'app' twice",)),
    "with a field twice, written in two ways": (b'{"app": "x", "\\u0061pp": "y"}', ("'app' twice",)),
    "with a budget twice": (b'{"app": "x", "budget": {"GPU_COUNT": 0, "GPU_COUNT": 1}}', ("'GPU_COUNT' twice",)),
    "with a field without a name": (b'{"": 1}', ("''", "train_dataset_id")),
    "nested without end": (b'{"app": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ("64 levels",)),
    "of objects without end": (b'{"app": ' + b'{"a": ' * 70 + b"1" + b"}" * 71, ("64 levels",)),
    "packed by gzip": (b"\x1f\x8b\x08\0\0\0\0\0", ("not UTF-8",)),
}  # fmt: skip
FORMS: dict[str, tuple[Request, tuple[str, ...]]] = {
    "without a file": (form(NAME, TASK), ("'dataset'",)), "with the file elsewhere": (form(NAME, TASK, part("data",
        b"x",
        '; filename="d"')), ("'data'", "dataset_url")),
    "with text for the file": (form(NAME, TASK, part("dataset", b"x")), ("'dataset'", "`str`")),
    "with a file for the name": (form(part("name", b"x", '; filename="d"'), TASK, FILE), ("'name'", "`str`")),
    "with a field twice": (form(NAME, NAME, TASK, FILE), ("'name' is given twice",)),
    "with the file twice": (form(NAME, TASK, FILE, FILE), ("'dataset' is given twice",)),
    "with a field in the address too": (Request("POST", "/datasets?name=x", form(NAME, TASK, FILE).parts),
        ("'name' is given",)),
    "with 9 files": (form(NAME, TASK, *[FILE] * 9), ("Too many files", "4")),
    "with 99 fields": (form(*(part(f"f{i}", b"x") for i in range(99)), FILE), ("Too many fields", "32")),
    "with a field of 2 MB": (form(part("name", b"x" * (2 << 20)), TASK, FILE), ("1024KB",)),
    "with a field without a name": (form(b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n", FILE), ("form data",)),
    "with a part without a head": (form(b"--b\r\n\r\nx\r\n", FILE), ("form data",)),
    "with a broken head": (form(b"--b\r\n\xff\xfe: \r\n\r\nx\r\n", FILE), ("form data",)),
    "cut off in a field": (form(part("name", b"d")[:-4], end=b""), ("",)),
    "cut off in the file": (form(NAME, TASK, FILE[:-2], end=b""), ("'dataset'",)),
    "empty": (form(end=b""), ("missing",)), "of garbage": (form(b"\0\1\2" * 999), ("form data",)),
    "with another boundary": (form(NAME, TASK, FILE, kind="multipart/form-data; boundary=c"), ("form data",)),
    "without a boundary": (form(NAME, kind="multipart/form-data"), ("boundary",)),
    "with an empty boundary": (form(NAME, TASK, FILE, kind="multipart/form-data; boundary="), ("",)),
    **{
        f"in {charset}": (form(part("name", b"\\ud800"), TASK, FILE, kind=f"{MULTIPART}; charset={charset}"),
            ("charset", charset))
        for charset in ("unicode_escape", "undefined", "idna", "utf-16", "rot13", "no-such-charset")
    },
    "with bytes of no text for the task": (form(NAME, part("task", b"\x80\x9f"), FILE), ("'task'",)),
    "as JSON": (raw_body("/datasets", b'{"name": "d"}'), ("multipart/form-data",)),
    "as text": (raw_body("/datasets", b"name=d", "text/plain"), ("multipart/form-data",)),
    "as nothing": (post("/datasets"), ("multipart/form-data",)),
    "of no type": (raw_body("/datasets", b"x", ""), ("multipart/form-data",)),
    "of fields alone": (post("/datasets", data={"name": "d", "task": CUSTOM}), ("'dataset'", "'dataset_url'")),
}  # fmt: skip
NO_HTTP: dict[str, RawRequest] = {
    "garbage": RawRequest(b"GARBAGE\r\n\r\n"), "TLS": RawRequest(b"\x16\x03\x01\x02\x00\x01\x00"),
    "HTTP/2": RawRequest(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "another version": http(b"GET / HTTP/9.9"),
    "an unknown method": http(b"FETCH /users HTTP/1.1"), "a tunnel": http(b"CONNECT x:80 HTTP/1.1"),
    "a path of raw bytes": http(b"GET /trials/\xff HTTP/1.1"),
    "a query of raw bytes": http(b"GET /datasets?task=\xff HTTP/1.1"),
    "a header without a colon": RawRequest(b"GET / HTTP/1.1\r\nBad Header\r\n\r\n"),
    "a header with NUL": RawRequest(b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n"),
    "less than no length": http(b"POST /train_jobs HTTP/1.1\r\nContent-Length: -5"),
    "a length as text": http(b"POST /train_jobs HTTP/1.1\r\nContent-Length: two", b"{}"),
    "two lengths": http(b"POST /train_jobs HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3", b"{}"),
    "a length and chunks": http(b"POST /train_jobs HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"0\r\n\r\n"),
}  # fmt: skip


def method(name: str, path: str, *says: str, at: str = ADMIN) -> Row:
    request = http(f"{name} {path} HTTP/1.1".encode(), at=at)
    return row(f"protocol: {name} {path}", "superadmin", request, 405, "MethodNotAllowedError", name, *says)


def at_predictor(what: str, data: bytes) -> Row:
    return row(f"protocol: {what} at a predictor", "developer", RawRequest(data, CUSTOM), 400, INVALID, "no valid HTTP")


def huge(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


ROWS: list[Row] = [
    *(row(f"protocol: body {what}", "developer", raw_body("/train_jobs", body), 400, INVALID, *says)
      for what, (body, says) in BODIES.items()),
    row("protocol: body missing", "developer", post("/train_jobs"), 400, INVALID, "missing"),
    row("protocol: body with a field twice, without a token", "nobody", raw_body("/tokens",
        b'{"email": "a@b", "password": "x", "email": "c@d"}'), 400, INVALID, "'email' twice"),
    row("protocol: body of 5 MB", "developer", raw_body("/train_jobs", huge(app="x" * (5 << 20))), 413, TOO_LARGE,
        "4,194,304"),
    row("protocol: body is a form", "developer", post("/train_jobs", data={"app": "x"}), 400, INVALID,
        "application/json"),
    row("protocol: body is form data", "developer", post("/train_jobs", files={"app": ("x", b"x")}), 400, INVALID,
        "application/json"),
    row("protocol: body on a GET", "developer", raw_body("/datasets", b'{"colour": 1}', method="GET"), 400, INVALID,
        "'colour'"),
    row("protocol: field in body and address", "developer", post("/inference_jobs?app=x", {"app": "x"}), 400, INVALID,
        "'app' is given twice"),
    row("protocol: field in path and query", "developer", get("/train_jobs/mine/-1?app=yours"), 400, INVALID,
        "'app' is given twice"),
    row("protocol: field twice in the address", "developer", get("/datasets?task=A&task=B"), 400, INVALID,
        "'task' is given"),
    row("protocol: field without a name", "developer", get("/datasets?=x"), 400, INVALID, "''", "task"),
    row("protocol: field of raw bytes", "developer", get("/datasets?%ff=x"), 400, INVALID, "Unknown field", "task"),
    row("protocol: 5,000 fields in the address", "developer", get("/datasets?" + "&".join(f"a{i}=1"
        for i in range(5000))), 400,
        INVALID, "'a0'"),
    *(row(f"protocol: form {what}", "developer", request, 400, INVALID, *says) for what, (request,
        says) in FORMS.items()),
    # ---- paths and methods
    *(
        row(f"protocol: path {path[:40]}", "developer", http(f"GET {path} HTTP/1.1".encode()), 404, "NotFoundError",
            "/openapi.json", shown)
        for path, shown in (
            ("/no/such/page", "/no/such/page"), ("/users/", "/users/"), ("//users", "//users"), ("/Users", "/Users"),
            ("/train_jobs/app/1/what", "/what"), ("/%2e%2e/etc/passwd", "/etc/passwd"), ("/../secrets.json",
                "secrets.json"),
            ("/favicon.ico", "/favicon.ico"), ("/trials/a%2Fb/c/d", "/trials"), ("*", "*"), ("/" + "y" * 9000, "yyy"),
        )
    ),
    method("PUT", "/users", "DELETE, GET, HEAD, OPTIONS, POST"),
    method("PATCH", "/datasets", "GET, HEAD, OPTIONS, POST"),
    method("DELETE", "/tokens", "POST"), method("GET", "/tokens", "POST"), method("POST", "/", "GET"),
    method("GET", "/models", "POST"), method("TRACE", "/users"),
    method("GET", "/actions/stop_all_jobs", "POST"), method("POST", "/openapi.json"), method("DELETE", "/trials/x",
        "GET"),
    # ---- what is no HTTP
    *(row(f"protocol: {what}", "developer", request, 400, INVALID, "no valid HTTP") for what,
        request in NO_HTTP.items()),
    row("protocol: a path of 100,000 characters", "developer", http(b"GET /" + b"a" * 100_000 + b" HTTP/1.1"), 431,
        "HeadersTooLargeError", "64 kB"),
    row("protocol: body in a compression of others", "developer", Request("POST", "/train_jobs", {
        "content": b"x", "headers": {"content-encoding": "br"}}), 415, "UnsupportedEncodingError", "'br'", "gzip"),
    at_predictor("garbage", b"GARBAGE\r\n\r\n"),
    at_predictor("less than no length", b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"),
    at_predictor("a broken chunk",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"),
]  # fmt: skip

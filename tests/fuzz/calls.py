"""Calls made at random from a seed: right ones with something wrong in them, of every kind that a field may have."""

from __future__ import annotations

import json
import random
from typing import Any

from fuzz.people import NOBODY_LISTENS, SOURCE, People, Person
from support.http.raw_http import TASK, unique

from rafiki.contract.all import ENDPOINTS

TEXTS = [
    "", " ", "a", "x" * 300, "\x00", "a\x00b", "../../etc/passwd", "%2e%2e%2f", "a/b", "null", "true", "-1", "1e999",
    "nan", "\ud800", "\U0001f600", "\u202e", "' OR 1=1 --", "{{7*7}}", "${HOME}", "<script>", "a\r\nX: y", "None",
    "00000000-0000-4000-8000-000000000000", "x@rafiki", "http://127.0.0.1:9/x", "http://[::ffff:10.0.0.1]/", "a\\b",
]  # fmt: skip
NUMBERS = [0, -1, 1, 2, 2**31, 2**63 - 1, 2**63, 10**30, -(2**63) - 1, 0.5, -0.0, 1e308]
WHOLE: list[Any] = [None, True, False, [], {}, [[]], [None], {"": ""}, {"a": {"b": [1]}}, "x", 3]
BODIES = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"a": 1, "a": 2}', b"[" * 5000, b'{"a":' * 200,
    b'{"a": NaN}', b'{"a": 1e400}', b'{"a": "\\ud800"}', b'{"app": ' + b"9" * 5000 + b"}", bytes(1000), b"a=b&a=c",
]  # fmt: skip
KINDS = ["application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "", "a/b; =;"]
PER_CALL = {
    "create_train_job", "create_inference_job", "create_model", "create_environment", "check_model",
    "update_inference_job", "rollback_inference_job",
}  # fmt: skip
"""Those that may start processes: made seldom."""
NEVER_RIGHT = {"stop_all_jobs", "collect_garbage"}
"""What they would end or remove is what the other calls are about."""


class Fuzzer:
    """The same seed makes the same calls, but for the ids in them."""

    def __init__(self, people: People, seed: int) -> None:
        self._random = random.Random(seed)
        self._people = people
        self._names = sorted(ENDPOINTS)
        self._ids = sorted({str(v) for p in people.all for v in p.fields.values()})

    def call(self, me: Person) -> str:
        """Make one call; returns what was sent, for the message of a failure."""
        r = self._random
        name = r.choice(self._names)
        while (name in PER_CALL and r.random() < 0.9) or (name in NEVER_RIGHT and me.may(name)):
            name = r.choice(self._names)
        e = ENDPOINTS[name]
        parts = self._right(name, me)
        for field in r.sample(sorted(e.fields), min(len(e.fields), r.choice((0, 1, 1, 2)))):
            if field not in e.path_fields and r.random() < 0.15:
                parts.pop(field, None)
            else:
                parts[field] = self._wrong(field)
        if r.random() < 0.05:
            parts[r.choice(TEXTS) or "unknown"] = r.choice(TEXTS)
        for field in e.path_fields:
            parts.setdefault(field, "x")
        self._keep_harmless(name, parts)
        told = f"{name} by {me.role}: {parts!r:.2000}"
        try:
            me.call(name, **self._as_sent(name, parts))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{told}") from error
        return told

    def _right(self, name: str, me: Person) -> dict[str, Any]:
        pool: dict[str, Any] = {
            **me.fields, "name": unique("fuzz"), "task": TASK, "train_dataset_id": me.fields.get("dataset_id", "x"),
            "val_dataset_id": me.fields.get("dataset_id", "x"), "model_class": "Tiny", "max_count": 2, "limit": 3,
            "model_file_bytes": ("tiny.py", SOURCE), "dataset": ("d", b"data"), "budget": {"MODEL_TRIAL_COUNT": 1},
            "model_ids": [self._people.public], "user_type": "APP_DEVELOPER", "user_id": me.caller.id,
            "password": "a good password", "type": "best", "dependencies": {"glimmer": "1.0"},
        }  # fmt: skip
        return {field: pool[field] for field in sorted(ENDPOINTS[name].fields) if field in pool}

    def _wrong(self, field: str) -> Any:
        r = self._random
        if field in ("dataset", "model_file_bytes"):
            return (r.choice(TEXTS[2:]).encode(errors="replace").decode(), r.randbytes(r.choice((0, 1, 500))))
        return r.choice((r.choice(TEXTS), r.choice(NUMBERS), r.choice(WHOLE), r.choice(self._ids), self._nested()))

    def _nested(self) -> Any:
        r = self._random
        keys = ["MODEL_TRIAL_COUNT", "TIME_HOURS", "CPU_WORKER_COUNT", "scheme", "options", "method", "glimmer", "a"]
        return {r.choice(keys): r.choice([*NUMBERS, *WHOLE, *TEXTS]) for _ in range(r.choice((1, 2)))}

    def _keep_harmless(self, name: str, parts: dict[str, Any]) -> None:
        """Who makes the calls stays able to, and no name is looked up outside."""
        if name in ("ban_user", "set_password") and parts.get("email") not in (*TEXTS, *WHOLE):
            parts["email"] = "nobody@nowhere"
        if name == "set_password" and not parts.get("email"):
            parts["old_password"] = "not the password"
        if name == "create_webhook" and isinstance(parts.get("url"), str):
            parts["url"] = NOBODY_LISTENS if parts["url"].startswith("http") else parts["url"]
        if name == "create_train_job" and isinstance(parts.get("budget"), dict):
            parts["budget"].setdefault("MODEL_TRIAL_COUNT", 1)

    def _as_sent(self, name: str, parts: dict[str, Any]) -> dict[str, Any]:
        r, e = self._random, ENDPOINTS[name]
        in_path = {field: _text(parts.pop(field)) for field in e.path_fields}
        if e.method != "GET" and r.random() < 0.1:
            return {**in_path, "raw_content": r.choice(BODIES), "raw_headers": {"Content-Type": r.choice(KINDS)}}
        if e.method == "GET" or e.is_form:
            files = {n: parts.pop(n) for n in e.file_fields if n in parts}
            sent = {_text(key): _text(value) for key, value in parts.items()}
            return {**in_path, "raw_params": sent} if e.method == "GET" else {**in_path, **files, "raw_data": sent}
        body = json.dumps(parts).encode()
        return {**in_path, "raw_content": body, "raw_headers": {"Content-Type": "application/json"}}


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="replace").decode()

"""A person's raw HTTP calls to a server of Rafiki, with the checks that every answer has to pass."""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path
from typing import Any

import httpx
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.errors import UnauthorizedError, error_types

_numbers = itertools.count(1)
JSON = "application/json"
BYTES = "application/octet-stream"
TASK = "CUSTOM"
FINAL = ("STOPPED", "ERRORED")


def unique(prefix: str) -> str:
    """A name that nobody else in the shared stack has."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


def check_refusal(answer: httpx.Response, error: str | None = None, status: int | None = None) -> str:
    """That an answer refuses as the contract says; returns its message."""
    assert 400 <= answer.status_code < 500, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == JSON
    body = answer.json()
    assert sorted(body) == ["error", "message"], body
    found = error_types()[body["error"]]
    # 404 where a name or id means nothing, whatever the class; 403 where a known user may not.
    others = {404, 403} if issubclass(found, UnauthorizedError) else {404}
    assert answer.status_code in {found.http_status, *others}, body
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    assert body["message"].strip(), "a refusal without a reason"
    for inside in ("Traceback", 'File "/', "rafiki/admin", "sqlalchemy", "msgspec"):
        assert inside not in body["message"], body["message"]
    if error is not None:
        assert body["error"] == error, body
    if status is not None:
        assert answer.status_code == status, body
    return str(body["message"])


class Caller:
    """Somebody (or nobody, without a token) who calls the admin."""

    def __init__(self, port: int, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=90, trust_env=False)
        self.port = port
        self.token = token
        self.id = ""
        self.email = ""

    def send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        return self.http.request(method, path, **parts)

    def ok(self, method: str, path: str, **parts: Any) -> Any:
        """The JSON (or bytes) of an answer that has to be a success."""
        answer = self.send(method, path, **parts)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        assert answer.headers["content-type"] in (JSON, BYTES)
        return answer.json() if answer.headers["content-type"] == JSON else answer.content

    def refused(self, error: str, method: str, path: str, **parts: Any) -> str:
        """The message of an answer that has to be this refusal."""
        return check_refusal(self.send(method, path, **parts), error)

    # ---- what tests need all the time

    def login(self, email: str, password: str) -> Caller:
        """Somebody else at the same admin."""
        answer = self.ok("POST", "/tokens", json={"email": email, "password": password})
        other = Caller(self.port, answer["token"])
        other.id, other.email = answer["user_id"], email
        return other

    def make_user(self, user_type: str) -> Caller:
        """A new user, logged in."""
        email = f"{unique(user_type.lower())}@rafiki"
        self.ok("POST", "/users", json={"email": email, "password": "a password", "user_type": user_type})
        return self.login(email, "a password")

    def upload_dataset(self, task: str = TASK, data: bytes = b"anything", **fields: str) -> str:
        form = {"name": unique("data"), "task": task, **fields}
        return str(self.ok("POST", "/datasets", data=form, files={"dataset": ("data.bin", data)})["id"])

    def send_model(self, source: bytes | Path, model_class: str, **fields: str) -> httpx.Response:
        data = source.read_bytes() if isinstance(source, Path) else source
        form = {"name": unique("model"), "task": TASK, "model_class": model_class, **fields}
        return self.send("POST", "/models", data=form, files={"model_file_bytes": ("my_model.py", io.BytesIO(data))})

    def upload_model(self, file: str = "tiny.py", model_class: str = "Tiny", **fields: str) -> str:
        answer = self.send_model(MODELS / file, model_class, **fields)
        assert answer.status_code == 200, answer.text
        assert answer.json()["load_error"] is None
        return str(answer.json()["id"])

    def job_fields(self, model_id: str | None = None, dataset_id: str | None = None, **fields: Any) -> dict[str, Any]:
        """What starts a train job of one trial; whatever is not given is made."""
        dataset_id = dataset_id or self.upload_dataset()
        return {
            "app": unique("app"), "task": TASK, "train_dataset_id": dataset_id, "val_dataset_id": dataset_id,
            "budget": {"MODEL_TRIAL_COUNT": 1}, "model_ids": [model_id or self.upload_model()], **fields,
        }  # fmt: skip

    def start_job(self, **fields: Any) -> str:
        """Start a train job; returns its app."""
        return str(self.ok("POST", "/train_jobs", json=self.job_fields(**fields))["app"])

    def job(self, app: str, version: int = -1) -> dict[str, Any]:
        found: dict[str, Any] = self.ok("GET", f"/train_jobs/{app}/{version}")
        return found

    def wait_for_job(self, app: str) -> dict[str, Any]:
        """The train job once it has ended."""
        found: dict[str, Any] = eventually(
            lambda: job if (job := self.job(app))["status"] in FINAL else None, f"the end of the train job {app}"
        )
        return found

    def trials(self, app: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ok("GET", f"/train_jobs/{app}/-1/trials", params=query)
        return found

    def run_job(self, **fields: Any) -> str:
        """Start a train job and wait for its end, which has to be a good one; returns its app."""
        app = self.start_job(**fields)
        job = self.wait_for_job(app)
        assert job["status"] == "STOPPED", job
        return app


def superadmin_of(stack: RunningStack) -> Caller:
    password = (stack.root / "superadmin-password").read_text().strip()
    return Caller(stack.port).login("superadmin@rafiki", password)

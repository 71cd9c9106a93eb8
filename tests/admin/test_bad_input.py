"""Wrong requests: each is refused with a 4xx status, the error that clients match on and a reason, never a 500."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from admin_people import Hostile
from raw_http import TASK, check_refusal, unique
from running_stack import MODELS

Call = Callable[[Hostile], httpx.Response]
DEEP = b'{"app": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
# Python can just read this one, but not write it again.
LESS_DEEP: list[Any] = functools.reduce(lambda inner, _: [inner], range(500), [])
NO_ID = "00000000-0000-4000-8000-000000000000"


def user(**fields: Any) -> Call:
    """A user that the superadmin makes, with other fields than good ones (... = without the field)."""
    good = {"email": "somebody@rafiki", "password": "secret", "user_type": "ADMIN"}
    sent = {n: v for n, v in {**good, **fields}.items() if v is not ...}
    return lambda w: w.root.send("POST", "/users", json=sent)


def token(**fields: Any) -> Call:
    return lambda w: w.root.send("POST", "/tokens", json={"email": "x@y", "password": "p", **fields})


def raw(body: bytes, content_type: str = "application/json", path: str = "/train_jobs") -> Call:
    return lambda w: w.me.send("POST", path, content=body, headers={"content-type": content_type})


def dataset(**fields: Any) -> Call:
    data = {n: v for n, v in {"name": "d", "task": TASK, **fields}.items() if v is not ...}
    return lambda w: w.me.send("POST", "/datasets", data=data, files={"dataset": ("d.bin", b"x")})


def model(file: bytes | None = None, **fields: Any) -> Call:
    source = (MODELS / "tiny.py").read_bytes() if file is None else file
    good = {"name": "m", "task": TASK, "model_class": "Tiny"}
    data = {n: v for n, v in {**good, **fields}.items() if v is not ...}
    return lambda w: w.me.send("POST", "/models", data=data, files={"model_file_bytes": ("m.py", source)})


def job(**fields: Any) -> Call:
    """A train job; a value that is a function gets the ids of what exists."""

    def send(w: Hostile) -> httpx.Response:
        good = {
            "app": unique("app"), "task": TASK, "train_dataset_id": w.dataset, "val_dataset_id": w.dataset,
            "budget": {"MODEL_TRIAL_COUNT": 1}, "model_ids": [w.model],
        }  # fmt: skip
        given = {n: v(w) if callable(v) else v for n, v in fields.items()}
        return w.me.send("POST", "/train_jobs", json={n: v for n, v in {**good, **given}.items() if v is not ...})

    return send


def budget(**options: Any) -> Call:
    return job(budget=options)


def infer(**fields: Any) -> Call:
    return lambda w: w.me.send("POST", "/inference_jobs", json={"app": w.app, **fields})


def get(path: str, **query: Any) -> Call:
    return lambda w: w.me.send("GET", path.format(w=w), params=query or None)


def send(method: str, path: str, **parts: Any) -> Call:
    return lambda w: w.me.send(method, path.format(w=w), **parts)


def others_task_dataset(w: Hostile) -> str:
    return w.me.upload_dataset(task="ANOTHER_TASK")


def others_task_model(w: Hostile) -> list[str]:
    return [w.me.upload_model(task="ANOTHER_TASK")]


def cut_off_form(w: Hostile) -> httpx.Response:
    body = b'--b\r\ncontent-disposition: form-data; name="name"\r\n\r\ndata'
    return raw(body, "multipart/form-data; boundary=b", "/datasets")(w)


def file_part(name: str, other: bytes = b"x") -> dict[str, Any]:
    return {name: ("d.bin", other)}


NAMES = {
    "empty": "",
    "blank": "  ",
    "with a slash": "a/b",
    "with a line break": "a\nb",
    "with NUL": "a\0",
    "long": "a" * 201,
}
INVALID = "InvalidRequestError"
ROWS: dict[str, tuple[str, Call]] = {
    # ---- users and tokens
    "user without a password": (INVALID, user(password=...)),
    "user with an unknown field": (INVALID, user(colour="red")),
    "user with an empty password": (INVALID, user(password="")),
    "user with a number as password": (INVALID, user(password=12345678)),
    "user type unknown": (INVALID, user(user_type="KING")),
    "user type in lower case": (INVALID, user(user_type="admin")),
    "user type null": (INVALID, user(user_type=None)),
    **{
        f"email {email[:20]!r}": (INVALID, user(email=email))
        for email in ("", "x", "x@", "@y", "a b@c", "a@b@c", "a@b\n", "a\x01@b", "a\0@b", "a" * 400 + "@b")
    },
    **{f"email as {kind!r}": (INVALID, user(email=kind)) for kind in (1, None, True, ["a@b"], {"a": "b"})},
    "token without a password": (INVALID, token(password=None)),
    "token with an unknown field": (INVALID, token(remember=True)),
    "token with NUL in the email": (INVALID, token(email="x\0@y")),
    "token for nobody": ("InvalidPasswordError", token()),
    "ban of nobody": ("InvalidUserError", lambda w: w.root.send("DELETE", "/users", json={"email": "no@one"})),
    # ---- bodies
    "body not JSON": (INVALID, raw(b"app=x")),
    "body cut off": (INVALID, raw(b'{"app": "x"')),
    "body an array": (INVALID, raw(b"[]")),
    "body null": (INVALID, raw(b"null")),
    "body a text": (INVALID, raw(b'"app"')),
    "body with NaN": (INVALID, raw(b'{"app": "x", "budget": {"TIME_HOURS": NaN}}')),
    "body with a number out of range": (INVALID, raw(b'{"app": "x", "budget": {"TIME_HOURS": 1e999}}')),
    "body with half a surrogate pair": (INVALID, raw(b'{"app": "\\ud800"}')),
    "body not UTF-8": (INVALID, raw(b'{"app": "\xff"}')),
    "body with an unknown field": (INVALID, job(models=[])),
    "body nested without end": (INVALID, raw(DEEP)),
    "body nested deep": (INVALID, job(train_args={"x": LESS_DEEP})),
    "body huge": ("RequestTooLargeError", raw(b'{"app": "' + b"x" * (17 << 20) + b'"}')),
    "body missing": (INVALID, send("POST", "/train_jobs")),
    "body is a form": (INVALID, send("POST", "/train_jobs", data={"app": "x"})),
    "body is form data": (INVALID, send("POST", "/train_jobs", files=file_part("app"))),
    "field in body and address": (INVALID, send("POST", "/inference_jobs?app=x", json={"app": "x"})),
    "field twice in the address": (INVALID, get("/datasets?task=A&task=B")),
    "field in path and query": (INVALID, get("/train_jobs/mine/-1?app=yours")),
    "field in path and body": (INVALID, send("POST", "/train_jobs/mine/1/stop", json={"app": "yours"})),
    "field unknown in the query": (INVALID, get("/datasets", colour="red")),
    "field unknown on a call without fields": (INVALID, get("/users/me", id="x")),
    # ---- forms
    "form without a file": (INVALID, send("POST", "/datasets", files={"name": (None, "d"), "task": (None, TASK)})),
    "form with the file in another field": (
        INVALID, send("POST", "/datasets", data={"name": "d", "task": TASK}, files=file_part("data"))),
    "form with text for the file": (
        INVALID, send("POST", "/datasets", files={"name": (None, "d"), "task": (None, TASK), "dataset": (None, "x")})),
    "form with a file for the name": (
        INVALID, send("POST", "/datasets", data={"task": TASK}, files={**file_part("name"), **file_part("dataset")})),
    "form with a field twice": (
        INVALID, send("POST", "/datasets?name=other", data={"name": "d", "task": TASK}, files=file_part("dataset"))),
    "form with too many files": (
        INVALID, send("POST", "/datasets", files=[("dataset", ("d", b"x"))] * 9)),
    "form with too many fields": (
        INVALID, send("POST", "/datasets", data={f"f{i}": "x" for i in range(99)}, files=file_part("dataset"))),
    "form with a huge field": (INVALID, dataset(name="x" * (2 << 20))),
    "form as JSON": (INVALID, send("POST", "/datasets", json={"name": "d", "task": TASK})),
    "form url-encoded": (INVALID, send("POST", "/datasets", data={"name": "d", "task": TASK})),
    "form without a boundary": (INVALID, raw(b"x", "multipart/form-data", "/datasets")),
    "form of garbage": (INVALID, raw(b"\0\1\2" * 999, "multipart/form-data; boundary=b", "/datasets")),
    "form cut off": (INVALID, cut_off_form),
    "form empty": (INVALID, raw(b"", "multipart/form-data; boundary=b", "/datasets")),
    "form without a content type": (INVALID, raw(b"x", "", "/models")),
    "form larger than a dataset may be": (
        "RequestTooLargeError", send("POST", "/datasets", files=file_part("dataset", b"x" * (10 << 20)))),
    # ---- names
    **{f"dataset name {what}": (INVALID, dataset(name=name)) for what, name in NAMES.items()},
    **{f"dataset task {what}": (INVALID, dataset(task=name)) for what, name in NAMES.items()},
    **{f"model name {what}": (INVALID, model(name=name)) for what, name in NAMES.items()},
    **{f"app {what}": (INVALID, job(app=name)) for what, name in NAMES.items()},
    # ---- models
    "model class not a name": (INVALID, model(model_class="Tiny()")),
    "model class missing": (INVALID, model(model_class=...)),
    "model access right unknown": (INVALID, model(access_right="MINE")),
    "model dependencies not JSON": (INVALID, model(dependencies="numpy")),
    "model dependencies a list": (INVALID, model(dependencies='["numpy"]')),
    "model dependencies without versions": (INVALID, model(dependencies='{"numpy": 1}')),
    "model dependencies nested without end": (INVALID, model(dependencies="[" * 9999 + "]" * 9999)),
    "model image with NUL": (INVALID, model(docker_image="a\0b")),
    "model file empty": ("InvalidModelError", model(b"")),
    "model file huge": ("RequestTooLargeError", model(b"#" * (2 << 20))),
    **{
        f"model id {what}": ("InvalidModelError", get("/models/" + model_id))
        for what, model_id in {"unknown": NO_ID, "malformed": "' OR 1=1 --", "of another": "{w.others_model}"}.items()
    },
    "model id with NUL": (INVALID, get("/models/%00")),
    "model deletion of another's": ("InvalidModelError", send("DELETE", "/models/{w.others_model}")),
    # ---- datasets
    **{
        f"dataset id {what}": ("InvalidDatasetError", get("/datasets/" + dataset_id))
        for what, dataset_id in {"unknown": NO_ID, "malformed": "x;y", "of another": "{w.others_dataset}"}.items()
    },
    # ---- train jobs
    "job without datasets": (INVALID, job(train_dataset_id=...)),
    "job with an unknown dataset": ("InvalidDatasetError", job(train_dataset_id=NO_ID)),
    "job with a malformed dataset id": ("InvalidDatasetError", job(val_dataset_id="x" * 10_000)),
    "job with another's dataset": ("InvalidDatasetError", job(val_dataset_id=lambda w: w.others_dataset)),
    "job with a dataset of another task": ("InvalidDatasetError", job(train_dataset_id=others_task_dataset)),
    "job with an unknown model": ("InvalidModelError", job(model_ids=[NO_ID])),
    "job with another's private model": ("InvalidModelError", job(model_ids=lambda w: [w.others_model])),
    "job with a model of another task": ("InvalidModelError", job(model_ids=others_task_model)),
    "job with one model id": (INVALID, job(model_ids=NO_ID)),
    "job with numbers for model ids": (INVALID, job(model_ids=[1, 2])),
    "job with a list of train args": (INVALID, job(train_args=[1])),
    "job with a number that nothing holds": (INVALID, job(train_args={"x": 2**70})),
    "job with a dataset as object": (INVALID, job(train_dataset_id={"id": "x"})),
    "budget a list": (INVALID, job(budget=[1])),
    "budget option unknown": ("InvalidTrainJobError", budget(TRIALS=1)),
    **{
        f"budget {option} = {value!r:.20}": ("InvalidTrainJobError", budget(**{option: value}))
        for option, values in {
            "TIME_HOURS": [0, -1, 1e300, "1", None, True],
            "MODEL_TRIAL_COUNT": [0, -2, 1.5, "3", []],
            "GPU_COUNT": [-1, 1, 10**30],
            "CPU_WORKER_COUNT": [0, -1, 257, 10**30],
        }.items()
        for value in values
    },
    **{
        f"app version {version[:9]}": (error, get("/train_jobs/{w.app}/" + version))
        for version, error in {
            "0": "InvalidTrainJobError", "-2": "InvalidTrainJobError", "7": "InvalidTrainJobError", "abc": INVALID,
            "1.5": INVALID, "9" * 30: INVALID, "0x1": INVALID, "None": INVALID,
        }.items()
    },
    "job of an unknown app": ("InvalidTrainJobError", get("/train_jobs/no-such-app/-1")),
    "job of another's app": ("InvalidTrainJobError", get("/train_jobs/{w.others_app}/-1")),
    "job stop of another's app": ("InvalidTrainJobError", send("POST", "/train_jobs/{w.others_app}/-1/stop")),
    "job list of another": ("InvalidTrainJobError", get("/train_jobs", user_id=NO_ID)),
    # ---- trials
    **{
        f"trials with {name} = {value!r:.20}": (INVALID, get("/train_jobs/{w.app}/-1/trials", **{name: value}))
        for name, values in {
            "max_count": [-1, "abc", "", 1.5], "offset": [-1, 10**30], "limit": [-1, "x"], "type": ["worst"],
        }.items()
        for value in values
    },
    "best trials of too many": (INVALID, get("/train_jobs/{w.app}/-1/trials", type="best", max_count=2**63)),
    **{
        f"trial {what}{part}": ("InvalidTrialError", get(f"/trials/{trial_id}{part}"))
        for what, trial_id in {"unknown": NO_ID, "malformed": "1", "of another": "{w.others_trial}"}.items()
        for part in ("", "/logs", "/parameters")
    },
    # ---- inference jobs
    "inference of an unknown app": ("InvalidTrainJobError", infer(app="no-such-app")),
    "inference of version 0": ("InvalidTrainJobError", infer(app_version=0)),
    "inference of a version in quotes": (INVALID, infer(app_version="1")),
    "inference of a fractional version": (INVALID, infer(app_version=1.5)),
    "inference of a huge version": (INVALID, infer(app_version=10**30)),
    **{
        f"inference budget {options}": ("InvalidInferenceJobError", infer(budget=options))
        for options in ({"TRIALS": 1}, {"GPU_COUNT": -1}, {"GPU_COUNT": 99}, {"REPLICA_COUNT": 0},
                        {"REPLICA_COUNT": 10**9}, {"REPLICA_COUNT": "2"})
    },
    "inference of another's app": (
        "InvalidTrainJobError", lambda w: w.me.send("POST", "/inference_jobs", json={"app": w.others_app})),
    "inference job that does not run": ("InvalidRunningInferenceJobError", get("/inference_jobs/{w.app}/-1")),
    "inference stop of what does not run": (
        "InvalidRunningInferenceJobError", send("POST", "/inference_jobs/{w.app}/-1/stop")),
    # ---- paths and methods
    **{
        f"path {path}": ("NotFoundError", get(path))
        for path in ("/no/such/page", "/users/", "/train_jobs/app/1/what", "/%2e%2e/etc/passwd", "/favicon.ico")
    },
    **{
        f"{method} {path}": ("MethodNotAllowedError", send(method, path))
        for method, path in (("PUT", "/users"), ("PATCH", "/datasets"), ("DELETE", "/tokens"), ("GET", "/tokens"),
                             ("POST", "/"), ("GET", "/models"), ("POST", "/openapi.json"), ("OPTIONS", "/users"),
                             ("GET", "/actions/stop_all_jobs"), ("TRACE", "/users"))
    },
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_wrong_request_is_refused_with_its_error_and_a_reason(hostile: Hostile, row: str) -> None:
    error, call = ROWS[row]
    check_refusal(call(hostile), error)
    assert hostile.me.job(hostile.app)["status"] == "STOPPED", "the next good call does not work"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("user with an unknown field", ["colour", "email", "password", "user_type"]),
        ("user without a password", ["'password'", "missing"]),
        ("user type unknown", ["'user_type'", "KING"]),
        ("email as 1", ["'email'", "str", "int"]),
        ("budget option unknown", ["TRIALS", "MODEL_TRIAL_COUNT"]),
        ("job with a dataset of another task", ["train_dataset_id", "ANOTHER_TASK", TASK]),
        ("app version abc", ["'app_version'", "abc"]),
        ("form as JSON", ["multipart/form-data"]),
        ("path /no/such/page", ["/no/such/page", "/openapi.json"]),
        ("PUT /users", ["DELETE, GET, POST", "PUT"]),
    ],
)
def test_the_reason_names_the_field_and_what_would_be_right(hostile: Hostile, row: str, words: list[str]) -> None:
    message = check_refusal(ROWS[row][1](hostile))
    assert [w for w in words if w not in message] == [], message

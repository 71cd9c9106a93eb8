"""Model templates."""

from __future__ import annotations

from typing import Any

from wrong_inputs.table import Request, Row, get, post, row, without
from wrong_inputs.world import CUSTOM, MODEL_FILE

INVALID, UNAUTHORIZED, INVALID_MODEL = "InvalidRequestError", "UnauthorizedError", "InvalidModelError"
NAMES = {
    "empty": "", "blank": "  ", "with a slash": "a/b", "with a line break": "a\nb", "with NUL": "a\0",
    "of 201 characters": "a" * 201, "of one dot": ".", "of two dots": "..", "that turns the text around": "a\u202eb",
}  # fmt: skip
"""What is no name, for datasets, models, tasks and apps."""


def model(file: bytes | None = None, **fields: Any) -> Request:
    source = MODEL_FILE.read_bytes() if file is None else file
    good = {"name": "m", "task": CUSTOM, "model_class": "Majority"}
    return post("/models", data=without({**good, **fields}), files={"model_file_bytes": ("m.py", source)})


def drop(model_id: str) -> Request:
    return Request("DELETE", f"/models/{model_id}")


ROWS: list[Row] = [
    row("models: without a name", "developer", model(name=...), 400, INVALID, "'name' is missing"),
    row("models: without a task", "developer", model(task=...), 400, INVALID, "'task' is missing"),
    row("models: without a class", "developer", model(model_class=...), 400, INVALID, "'model_class' is missing"),
    row("models: without a file", "developer", post("/models", files={"name": (None, "m"), "task": (None, CUSTOM),
        "model_class": (None, "M")}), 400, INVALID, "'model_file_bytes' is missing"),
    row("models: a text for the file", "developer", post("/models", files={"name": (None, "m"), "task": (None, CUSTOM),
        "model_class": (None, "M"), "model_file_bytes": (None, "x")}), 400, INVALID, "'model_file_bytes'", "`str`"),
    row("models: unknown field", "developer", model(colour="red"), 400, INVALID, "'colour'", "docker_image"),
    *(
        row(f"models: {field} {what}", "developer", model(**{field: name}), 400, INVALID, f"'{field}'", "200 printable")
        for field in ("name", "task") for what, name in NAMES.items()
    ),
    row("models: class that is a call", "developer", model(model_class="M()"), 400, INVALID, "'model_class'", "'M()'"),
    row("models: class with a dot", "developer", model(model_class="os.M"), 400, INVALID, "'model_class'", "'os.M'"),
    row("models: class without letters", "developer", model(model_class=""), 400, INVALID, "'model_class'", "''"),
    row("models: unknown access right", "developer", model(access_right="MINE"), 400, INVALID, "'access_right'",
        "'MINE'"),
    row("models: access right in lower case", "developer", model(access_right="public"), 400, INVALID, "'access_right'",
        "'public'"),
    row("models: dependencies not JSON", "developer", model(dependencies="numpy"), 400, INVALID, "'dependencies'",
        "JSON"),
    row("models: dependencies cut off", "developer", model(dependencies='{"a": '), 400, INVALID, "'dependencies'"),
    row("models: list of dependencies", "developer", model(dependencies='["a"]'), 400, INVALID, "'dependencies'",
        "`object`", "`array`"),
    row("models: number as version", "developer", model(dependencies='{"a": 1}'), 400, INVALID, "'dependencies",
        "`int`"),
    row("models: dependency twice", "developer", model(dependencies='{"a": "1", "a": "2"}'), 400, INVALID,
        "'dependencies'", "'a' twice"),
    row("models: dependencies without end", "developer", model(dependencies="[" * 9999 + "]" * 9999), 400, INVALID,
        "'dependencies'", "64 levels"),
    row("models: image with NUL", "developer", model(docker_image="a\0b"), 400, "InvalidImageError",
        "'docker_image'", "no name of an image"),
    *(
        row(f"models: image {image[:20]!r}", "developer", model(docker_image=image), 400, "InvalidImageError",
            "'docker_image'", "no name of an image", "registry.example.org/team/model:1.2")
        for image in ("", "Big/Letters", "two words", "a:b:c", "host:port/x", "https://host/x", "x@sha256:12", "x/",
                      "/x", "x" * 5000, "\u00e4:1", "a;id")
    ),
    row("models: empty file", "developer", model(b""), 400, INVALID_MODEL, "file is empty"),
    row("models: file of 2 MB", "developer", model(b"#" * (2 << 20)), 413, "RequestTooLargeError", "1 MB",
        "admin.max_model_file_mb"),
    row("models: name is taken", "developer", model(name="unused model"), 409, "DuplicateModelNameError",
        "'unused model'"),
    row("models: by an app developer", "app developer", model(), 403, UNAUTHORIZED, "MODEL_DEVELOPER", "APP_DEVELOPER"),
    row("models: by nobody", "nobody", model(), 401, UNAUTHORIZED, "No token"),
    row("models: by a banned user", "banned", model(), 401, UNAUTHORIZED, "banned"),
    row("models: as JSON", "developer", post("/models", {"name": "m"}), 400, INVALID, "multipart/form-data"),
    # ---- ids
    *(
        row(f"models: {what} at {path}", who, get(f"/models/{model_id}{path}"), 404, INVALID_MODEL, shown)
        for path in ("", "/model_file")
        for what, who, model_id, shown in (
            ("unknown id", "developer", "<no id>", "<no id>"),
            ("malformed id", "developer", "' OR 1=1 --", "' OR 1=1 --"),
            ("another's", "developer", "<their model>", "<their model>"),
            ("another's for an app developer", "app developer", "<CUSTOM model>", "<CUSTOM model>"),
            ("unknown id for the superadmin", "superadmin", "<no id>", "<no id>"),
        )
    ),
    row("models: id with NUL", "developer", get("/models/%00"), 400, INVALID, "NUL"),
    row("models: id of 9,000 characters", "developer", get("/models/" + "x" * 9000), 404, INVALID_MODEL, "xxx"),
    row("models: available with two tasks", "developer", get("/models/available?task=a&task=b"), 400, INVALID,
        "'task' is given twice"),
    row("models: available by name", "developer", get("/models/available", name="m"), 400, INVALID, "'name'", "task"),
    row("models: deletion of a used one", "developer", drop("<CUSTOM model>"), 409, "ModelUsedError", "<CUSTOM model>",
        "train job"),
    row("models: deletion of a used one by the superadmin", "superadmin", drop("<CUSTOM model>"), 409, "ModelUsedError",
        "train job"),
    row("models: deletion of another's", "developer", drop("<their model>"), 404, INVALID_MODEL, "<their model>"),
    row("models: deletion of an unknown one", "superadmin", drop("<no id>"), 404, INVALID_MODEL, "<no id>"),
    row("models: deletion of all available", "developer", drop("available"), 405, "MethodNotAllowedError", "GET"),
]  # fmt: skip

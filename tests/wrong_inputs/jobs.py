"""Train jobs, trials and inference jobs."""

from __future__ import annotations

from typing import Any

from wrong_inputs.models import NAMES
from wrong_inputs.table import Request, Row, get, post, row, without
from wrong_inputs.world import CUSTOM, IMAGES

INVALID, UNAUTHORIZED = "InvalidRequestError", "UnauthorizedError"
NO_DATASET, NO_MODEL, NO_MODELS = "InvalidDatasetError", "InvalidModelError", "NoModelsForTrainJobError"
NO_JOB, NO_TRIAL = "InvalidTrainJobError", "InvalidTrialError"
NO_INFERENCE, NOT_RUNNING = "InvalidInferenceJobError", "InvalidRunningInferenceJobError"


def job(**fields: Any) -> Request:
    """A new train job; ``...`` leaves a field out."""
    good = {
        "app": "new", "task": CUSTOM, "train_dataset_id": "<CUSTOM dataset>", "val_dataset_id": "<CUSTOM dataset>",
        "budget": {"MODEL_TRIAL_COUNT": 1}, "model_ids": ["<CUSTOM model>"],
    }  # fmt: skip
    return post("/train_jobs", without({**good, **fields}))


def infer(**fields: Any) -> Request:
    return post("/inference_jobs", without({"app": "<unserved app>", **fields}))


def nested(n_levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(n_levels):
        value = [value]
    return value


BUDGETS: dict[str, dict[str, str]] = {
    "TIME_HOURS": {"0": "above 0", "-1": "above 0", "1e300": "87600", '"-1"': "above 0", "null": "None", "true": "True",
                   "[]": "list", '"xxxx"': "number"},
    "MODEL_TRIAL_COUNT": {"0": "1 or more", "-2": "-1 or more", "1.5": "whole number", '"x3"': "'x3'", "[]": "[]"},
    "GPU_COUNT": {"-1": "0 or more", "1": "0 GPU(s)", "0.5": "whole number", "1e300": "0 GPU(s)", "{}": "number"},
    "CPU_WORKER_COUNT": {"0": "1 or more", "-1": "1 or more", "257": "256 or less", "1e30": "256 or less"},
}  # fmt: skip
TRAIN: list[Row] = [
    *(
        row(f"train jobs: without {field}", "developer", job(**{field: ...}), 400, INVALID, f"'{field}' is missing")
        for field in ("app", "task", "train_dataset_id", "val_dataset_id")
    ),
    *(
        row(f"train jobs: {kind} as {field}", "developer", job(**{field: value}), 400, INVALID, f"'{field}'",
            f"`{kind}`")
        for field, value, kind in (
            ("app", 1, "int"), ("app", None, "null"), ("task", ["x"], "array"), ("train_dataset_id", {"id": "x"},
                "object"),
            ("val_dataset_id", None, "null"), ("budget", [1], "array"), ("budget", None, "null"), ("budget", "1h",
                "str"),
            ("model_ids", "<CUSTOM model>", "str"), ("model_ids", {"a": 1}, "object"), ("train_args", [1], "array"),
            ("train_args", "x", "str"),
        )
    ),
    row("train jobs: numbers for models", "developer", job(model_ids=["<CUSTOM model>", 2]), 400, INVALID,
        "'model_ids[1]'"),
    row("train jobs: unknown field", "developer", job(models=[]), 400, INVALID, "'models'", "model_ids"),
    *(row(f"train jobs: {field} {what}", "developer", job(**{field: name}), 400, INVALID, f"'{field}'", "printable")
      for field in ("app", "task") for what, name in NAMES.items()),
    *(
        row(f"train jobs: {field} {what}", "developer", job(**{field: value}), 400, NO_DATASET, f"'{field}'", *says)
        for field in ("train_dataset_id", "val_dataset_id")
        for what, value, says in (
            ("unknown", "<no id>", ["<no id>"]), ("malformed", "x" * 10_000, ["xxx"]), ("empty", "", ["''"]),
            ("of another", "<their dataset>", ["<their dataset>"]),
            ("for another task", f"<{IMAGES} dataset>", [IMAGES, CUSTOM]), ("of a model", "<CUSTOM model>",
                ["<CUSTOM model>"]),
        )
    ),
    row("train jobs: dataset with NUL", "developer", job(train_dataset_id="a\0"), 400, INVALID, "NUL"),
    *(
        row(f"train jobs: model {what}", "developer", job(model_ids=ids), 400, NO_MODEL, *says)
        for what, ids, says in (
            ("unknown", ["<no id>"], ["'model_ids'", "<no id>"]), ("unknown after a good one", ["<CUSTOM model>", "x"],
                ["'x'"]),
            ("without an id", [""], ["'model_ids'", "''"]), ("of another", ["<their model>"], ["<their model>"]),
            ("for another task", [f"<{IMAGES} model>"], [f"'{IMAGES} model@1'", IMAGES, CUSTOM]),
        )
    ),
    row("train jobs: no models", "developer", job(model_ids=[]), 400, NO_MODELS, "'model_ids'", "empty"),
    row("train jobs: no models of the task", "app developer", job(
        train_dataset_id="<app developer's dataset>", val_dataset_id="<app developer's dataset>", model_ids=None,
        task="LONELY"),
        400, NO_MODELS, "LONELY", "rafiki model upload"),
    row("train jobs: args that nothing holds", "developer", job(train_args={"x": 2**70}), 400, INVALID, "'train_args'",
        "64"),
    row("train jobs: args nested deep", "developer", job(train_args={"x": nested(500)}), 400, INVALID, "body",
        "64 levels"),
    row("train jobs: budget as words", "developer", job(budget={"TIME_HOURS": "an hour"}), 400, NO_JOB, "TIME_HOURS",
        "'an hour'"),
    row("train jobs: unknown budget beside a wrong one", "developer", job(budget={"x" * 99_999: 1, "GPU_COUNT": "-1"}),
        400, NO_JOB, "GPU_COUNT", "0 or more"),
    row("train jobs: budget of a thousand texts", "developer", job(budget={"GPU_COUNT": ["x"] * 9999}), 400, NO_JOB,
        "number"),
    *(
        row(f"train jobs: budget {option} {value}", "developer", Request("POST", "/train_jobs", {
            "content": f'{{"app": "new", "task": "{CUSTOM}", "train_dataset_id": "<CUSTOM dataset>", "val_dataset_id": '
            f'"<CUSTOM dataset>", "budget": {{"{option}": {value}}}}}'}), 400, NO_JOB, option, says)
        for option, values in BUDGETS.items() for value, says in values.items()
    ),
    row("train jobs: app is live", "developer", job(app="<live app>"), 400, NO_JOB, "'<live app>'", "running already"),
    row("train jobs: by nobody", "nobody", job(), 401, UNAUTHORIZED, "No token"),
    row("train jobs: by a banned user", "banned", job(), 401, UNAUTHORIZED, "banned"),
    row("train jobs: with another's everything", "other developer", job(), 400, NO_DATASET, "'train_dataset_id'"),
    *(
        row(f"train jobs: version {version[:9]}", "developer", get(f"/train_jobs/<unserved app>/{version}"),
            404 if error == NO_JOB else 400, error, says)
        for version, error, says in (
            ("0", NO_JOB, "version 0"), ("-2", NO_JOB, "version -2"), ("7", NO_JOB, "version 7"),
            ("abc", INVALID, "'app_version'"), ("1.5", INVALID, "'app_version'"), ("0x1", INVALID, "'app_version'"),
            ("9" * 30, INVALID, "'app_version'"), ("None", INVALID, "'app_version'"), ("%20", INVALID, "'app_version'"),
            ("\uff11", INVALID, "'app_version'"), ("1_0", INVALID, "'app_version'"), ("%00", INVALID, "'app_version'"),
        )
    ),
    *(
        row(f"train jobs: {what} at {end or 'itself'}", "developer", Request(method, f"/train_jobs/{app}/-1{end}"),
            404, NO_JOB,
            f"'{app}'")
        for method, end in (("GET", ""), ("POST", "/stop"), ("GET", "/trials"))
        for what, app in (("unknown app", "no such app"), ("another's app", "<their app>"), ("an id", "<no id>"))
    ),
    row("train jobs: an admin's app of another", "superadmin", get("/train_jobs/<their app>/1"), 404, NO_JOB,
        "'<their app>'"),
    row("train jobs: app with NUL in a path", "developer", get("/train_jobs/%00/-1"), 400, INVALID, "NUL"),
    row("train jobs: app of 9,000 characters", "developer", get("/train_jobs/" + "x" * 9000 + "/-1"), 404, NO_JOB,
        "xxx"),
    row("train jobs: list of another", "developer", get("/train_jobs", user_id="<id of admin>"), 400, NO_JOB,
        "Only admins"),
    row("train jobs: list of nobody", "admin", get("/train_jobs", user_id="<no id>"), 404, "InvalidUserError",
        "<no id>"),
    row("train jobs: list by email", "admin", get("/train_jobs", email="x@y"), 400, INVALID, "'email'", "user_id"),
    row("train jobs: stop with a field of the path", "developer", post("/train_jobs/<live app>/1/stop", {"app": "x"}),
        400,
        INVALID, "'app' is given twice"),
    row("train jobs: stop with an unknown field", "developer", post("/train_jobs/<live app>/1/stop", {"force": True}),
        400,
        INVALID, "'force'", "app_version"),
    row("train jobs: stop all by an admin", "admin", post("/actions/stop_all_jobs"), 403, UNAUTHORIZED, "SUPERADMIN",
        "ADMIN"),
    row("train jobs: stop all by a developer", "developer", post("/actions/stop_all_jobs"), 403, UNAUTHORIZED,
        "SUPERADMIN"),
    row("train jobs: stop all with a field", "superadmin", post("/actions/stop_all_jobs", {"force": True}), 400,
        INVALID,
        "'force'", "none"),
]  # fmt: skip
TRIALS: list[Row] = [
    *(
        row(f"trials: {what}{part}", who, get(f"/trials/{trial}{part}"), 404, NO_TRIAL, shown)
        for part in ("", "/logs", "/parameters")
        for what, who, trial, shown in (
            ("unknown", "developer", "<no id>", "<no id>"), ("malformed", "developer", "1", "'1'"),
            ("another's", "developer", "<their trial>", "<their trial>"),
            ("another's for an app developer", "app developer", "<trial>", "<trial>"),
            ("unknown for the superadmin", "superadmin", "<no id>", "<no id>"),
            ("of 9,000 characters", "developer", "x" * 9000, "xxx"),
        )
    ),
    row("trials: parameters of a running one", "developer", get("/trials/<live trial>/parameters"), 400, NO_TRIAL,
        "Trial 1",
        "RUNNING"),
    row("trials: with NUL", "developer", get("/trials/%00"), 400, INVALID, "NUL"),
    row("trials: by nobody", "nobody", get("/trials/<trial>"), 401, UNAUTHORIZED, "No token"),
    row("trials: another part", "developer", get("/trials/<trial>/weights"), 404, "NotFoundError", "/weights"),
    *(
        row(f"trials: list with {name} {value[:9]!r}", "developer",
            get(f"/train_jobs/<unserved app>/-1/trials?{name}={value}"),
            400, INVALID, f"'{name}'")
        for name, values in {
            "max_count": ["-1", "abc", "", "1.5", "9" * 20], "offset": ["-1", "9" * 20, "%00"], "limit": ["-1", "x",
                "9" * 20],
            "type": ["worst", "BEST", ""],
        }.items()
        for value in values
    ),
    row("trials: list with an unknown field", "developer", get("/train_jobs/<unserved app>/-1/trials", sort="score"),
        400,
        INVALID, "'sort'", "max_count"),
    row("trials: list with another app", "developer", get("/train_jobs/<unserved app>/-1/trials", app="x"), 400,
        INVALID,
        "'app' is given twice"),
]  # fmt: skip
INFERENCE: list[Row] = [
    row("inference jobs: without an app", "developer", infer(app=...), 400, INVALID, "'app' is missing"),
    row("inference jobs: number as app", "developer", infer(app=1), 400, INVALID, "'app'", "`int`"),
    row("inference jobs: unknown field", "developer", infer(model="best"), 400, INVALID, "'model'", "app_version"),
    *(row(f"inference jobs: version {v!r:.9}", "developer", infer(app_version=v), 400, INVALID, "'app_version'")
      for v in ("1", 1.5, 10**30, None, True, [1])),
    *(row(f"inference jobs: version {v}", "developer", infer(app_version=v), 404, NO_JOB, f"version {v}") for v in (0,
        -2, 7)),
    row("inference jobs: unknown app", "developer", infer(app="no such app"), 404, NO_JOB, "'no such app'"),
    row("inference jobs: another's app", "developer", infer(app="<their app>"), 404, NO_JOB, "'<their app>'"),
    row("inference jobs: app with NUL", "developer", infer(app="a\0"), 400, INVALID, "NUL"),
    row("inference jobs: of a live train job", "developer", infer(app="<live app>"), 400, NO_JOB, "<live app>",
        "RUNNING"),
    row("inference jobs: of an errored train job", "developer", infer(app="<errored app>"), 400, NO_JOB,
        "<errored app>",
        "no completed trial"),
    row("inference jobs: of what is served", "developer", infer(app="<CUSTOM app>"), 409,
        "RunningInferenceJobExistsError",
        "'<CUSTOM app>'", "version 1"),
    row("inference jobs: list as budget", "developer", infer(budget=[1]), 400, INVALID, "'budget'", "`array`"),
    *(
        row(f"inference jobs: budget {options}", "developer", infer(budget=options), 400, NO_INFERENCE, *says)
        for options, says in (
            ({"GPU_COUNT": -1}, ["GPU_COUNT", "0 or more"]), ({"GPU_COUNT": 99}, ["GPU_COUNT is 99", "0 GPU(s)"]),
            ({"GPU_COUNT": "one"}, ["GPU_COUNT", "'one'"]), ({"REPLICA_COUNT": 0}, ["REPLICA_COUNT", "1 or more"]),
            ({"REPLICA_COUNT": 10**9}, ["REPLICA_COUNT", "256 or less"]), ({"REPLICA_COUNT": 1.5}, ["REPLICA_COUNT",
                "whole"]),
            ({"REPLICA_COUNT": None}, ["REPLICA_COUNT", "None"]),
        )
    ),
    row("inference jobs: by nobody", "nobody", infer(), 401, UNAUTHORIZED, "No token"),
    *(
        row(f"inference jobs: {what} at {end or 'itself'}", "developer", Request(method,
            f"/inference_jobs/{app}{end}"), 404,
            error, f"{app.partition('/')[0]}")
        for method, end in (("GET", ""), ("POST", "/stop"))
        for what, app, error in (
            ("never served", "<unserved app>/-1", NOT_RUNNING), ("stopped", "<stopped app>/1", NOT_RUNNING),
            ("of an errored train job", "<errored app>/-1", NOT_RUNNING), ("of a live train job", "<live app>/-1",
                NOT_RUNNING),
            ("of an unknown version", "<CUSTOM app>/2", NO_JOB), ("of an unknown app", "no such app/-1", NO_JOB),
            ("of another", "<their app>/-1", NO_JOB),
        )
    ),
    row("inference jobs: version as text", "developer", get("/inference_jobs/<CUSTOM app>/latest"), 400, INVALID,
        "'app_version'", "'latest'"),
    row("inference jobs: list of another", "developer", get("/inference_jobs", user_id="<id of admin>"), 400,
        NOT_RUNNING,
        "Only admins"),
    row("inference jobs: list of nobody", "admin", get("/inference_jobs", user_id="x"), 404, "InvalidUserError", "'x'"),
    row("inference jobs: services for a developer", "developer", get("/services"), 403, UNAUTHORIZED,
        "ADMIN, SUPERADMIN"),
]  # fmt: skip
ROWS: list[Row] = [*TRAIN, *TRIALS, *INFERENCE]

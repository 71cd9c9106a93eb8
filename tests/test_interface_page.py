"""docs/reference/interface.md lists every row of the published interface, each with tests that there are."""

from __future__ import annotations

import ast
import enum
import re
from functools import cache
from pathlib import Path

import pytest

import rafiki.model
from rafiki import constants
from rafiki.client import Client
from rafiki.constants import Task
from rafiki.contract.all import ENDPOINTS
from rafiki.errors import error_types
from rafiki.model import BaseKnob, BaseModel, dataset
from rafiki.model.knobs import POLICIES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "interface.md"
CONTRACT = ROOT.parent / "shared" / "CONTRACT.md"

# ---- what the page has to list: from the product, and facts where the product cannot tell

KNOBS = [name for name in rafiki.model.__all__ if name.endswith("Knob") and name != BaseKnob.__name__]
CONSTANTS = [
    "BudgetOption", "InferenceBudgetOption", "ModelAccessRight", "TrainJobStatus", "InferenceJobStatus", "TrialStatus",
    "UserType", "ServiceType", "ServiceStatus", "ModelDependency",
]  # fmt: skip
# Options that Rafiki adds to the interface.
BEYOND = {"CPU_WORKER_COUNT", "REPLICA_COUNT", "WORKERS_PER_GPU"}
CALLS = [
    "get_health", "login", "create_user", "get_users", "ban_user", "create_dataset", "get_datasets", "create_model",
    "get_available_models", "get_model", "get_model_file", "delete_model", "create_train_job", "get_train_jobs_by_user",
    "get_train_jobs_of_app", "get_train_job", "stop_train_job", "get_trials_of_train_job", "get_trial",
    "get_trial_logs", "get_trial_parameters", "create_inference_job", "get_inference_jobs_by_user",
    "get_inference_jobs_of_app", "get_running_inference_job", "stop_inference_job", "stop_all_jobs",
]  # fmt: skip
ERRORS = [
    "InvalidUserError", "UserExistsError", "UserAlreadyBannedError", "InvalidPasswordError", "UnauthorizedError",
    "InvalidModelError", "DuplicateModelNameError", "ModelUsedError", "InvalidDatasetError",
    "NoModelsForTrainJobError", "InvalidTrainJobError", "InvalidTrialError", "RunningInferenceJobExistsError",
    "InvalidRunningInferenceJobError",
]  # fmt: skip
METHODS = [
    "login", "logout", "get_current_user", "create_user", "get_users", "ban_user", "create_dataset", "get_datasets",
    "create_model", "get_model", "download_model_file", "get_available_models", "delete_model", "create_train_job",
    "get_train_jobs_by_user", "get_train_jobs_of_app", "get_train_job", "stop_train_job", "get_trial",
    "get_best_trials_of_train_job", "get_trials_of_train_job", "get_trial_logs", "get_trial_parameters",
    "load_trial_model", "create_inference_job", "get_inference_jobs_by_user", "get_inference_jobs_of_app",
    "get_running_inference_job", "stop_inference_job", "stop_all_jobs",
]  # fmt: skip
HELPERS = [
    "load_dataset_of_image_files", "load_dataset_of_corpus", "load_dataset_of_audio_files", "normalize_images",
    "transform_images", "load_images",
]  # fmt: skip


def address_of(call: str) -> str:
    """`GET /models/<id>`: the call as the interface writes it."""
    endpoint = ENDPOINTS[call]
    path = re.sub(r"{(\w+)}", lambda m: {"app": "<app>", "app_version": "<version>"}.get(m[1], "<id>"), endpoint.path)
    return f"{endpoint.method} {path}"


EXPECTED: dict[str, list[str]] = {
    "Names of rafiki.model": [*rafiki.model.__all__, "utils.logger", "utils.dataset"],
    "BaseModel": [
        "__init__",
        # Constraints came later.
        *(n for n in vars(BaseModel) if not n.startswith("_") and n != "get_knob_constraints"),
    ],
    "Knobs": [
        *KNOBS, *POLICIES, "KnobValue", "KnobValue.value", "KnobValue.dtype",
        "knob.value_type", "knob.value", "knob.values", "knob.value_min", "knob.value_max", "knob.is_exp",
        "knob.policy", "knob.items",
        "logarithmic scale", "one type a knob",
    ],
    "Logging": [
        *(f"utils.logger.{name}" for name in ("log", "define_plot", "define_loss_plot", "log_loss")),
        "metrics are numbers", "the time", "messages", "metrics", "plots",
    ],
    "Dataset helpers": HELPERS,
    "rafiki.model.dev.test_model_class": [
        "arguments", "(predictions, best model)", "--KNOB=value", "--TIME_HOURS", "--GPU_COUNT", "--MODEL_TRIAL_COUNT",
        "if __name__ == '__main__'",
    ],
    "Constants": [
        *CONSTANTS, "Budget", "InferenceBudget", "ModelDependencies", "rafiki.config.SUPERADMIN_EMAIL",
        "rafiki.config.SUPERADMIN_PASSWORD",
    ],
    "Budgets and GPUs": [
        *(option for option in constants.BudgetOption if option not in BEYOND), "GPUs are shared out evenly",
        "one GPU a train worker", "a model without a GPU", "CUDA_VISIBLE_DEVICES",
    ],
    "Habits of model files": [
        "no super().__init__", "self.__dict__.update", "pickled estimators in base64", "print",
        "argparse at the bottom", "module-level state", "numpy scalars as scores",
    ],
    "Tasks": [
        *(f"{task} {part}" for task in Task for part in ("dataset", "query", "prediction", "ensemble")),
        "any other string",
    ],
    "Calls": [address_of(call) for call in CALLS],
    "Rules": [
        "port", "Authorization: Bearer <token>", "success", "content types", "bodies", "query parameters", "errors",
        "roles", "admins", "oneself", "a ban", "emails", "version -1", "an app", "versions", "one live train job",
        "one live inference job", "an inference job", "what is served", "the best trials", "parameters",
        "no models named", "other users' datasets", "other users' jobs", "other users' trials",
        "other users' private models", "a model in use", "a model file that does not load",
    ],
    "Error classes": [*ERRORS, "raised by the client"],
    "Predictor": ["predictor_host", "GET /", "POST /predict of a query", "POST /predict of queries"],
    "The Python client": ["Client", *METHODS],
    "How the knobs choose the search": [
        "only fixed and policy knobs", "+ float, integer, categorical knobs, with SHARE_PARAMS",
        "+ float, integer, categorical knobs", "fixed, policy and arch knobs with all five policies", "anything else",
    ],
    "Scripts, tests and samples of the first generation": [
        "tests match the error's class name in str(exception) of the client",
        "parameters with None, lists, dicts, bytes, nested (its codec was msgpack); both XGBoost samples store None "
        "for target when no target is given",
        "test_model_class on a file whose pinned dependencies are not met", "client.get_trial_parameters",
        "client.login", "client.get_current_user() before a login", "variables RAFIKI_ADDR, ADMIN_EXT_PORT",
        "ArchKnob", 'budget values as strings of numbers ("2")', "an unknown budget key",
        "images.csv, corpus.tsv, csv datasets written by its loaders",
    ],
}  # fmt: skip


# ---- what the page lists


def row_of(cell: str) -> str:
    """What a first cell is about, without arguments and query parameters."""
    text = cell.replace("`", "")
    is_name = cell.startswith("`") and not text.startswith(("(", "if "))
    return re.split(r"\(|[?]|\[", text)[0] if is_name else text


@cache
def tables() -> dict[str, dict[str, tuple[str, str]]]:
    """By heading: each row's second and third cell."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    heading = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip().replace("`", "")
        elif line.startswith("|") and line != "| row | what holds | test |" and not line.startswith("|---"):
            row, holds, tests = (cell.strip() for cell in line.strip("|").split("|"))
            rows = found.setdefault(heading, {})
            assert row_of(row) not in rows, f"{row} is listed twice"
            rows[row_of(row)] = (holds, tests)
    return found


@cache
def functions_in(file: str) -> set[str]:
    """The test functions of a file, and the test methods of its classes."""
    path = ROOT / file
    if not path.is_file():
        return set()
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {
        n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name.startswith("test")
    }


def names_a_test(part: str) -> bool:
    file, _, function = part.partition("::")
    return re.fullmatch(r"tests/([a-z_]+/)*test_\w+\.py", file) is not None and function in functions_in(file)


def parts_without_test(cell: str) -> list[str]:
    """The parts of a third cell that name no test."""
    return [part for part in cell.split(", ") if not names_a_test(part.strip("`"))]


@pytest.mark.parametrize("heading", EXPECTED)
def test_every_row_of_the_interface_is_listed_and_no_other(heading: str) -> None:
    assert sorted(tables().get(heading, {})) == sorted(EXPECTED[heading])


def test_the_page_has_no_other_tables() -> None:
    assert tables().keys() == EXPECTED.keys()


@pytest.mark.parametrize("heading", EXPECTED)
def test_every_row_says_what_holds_and_names_tests_that_there_are(heading: str) -> None:
    for row, (holds, tests) in tables().get(heading, {}).items():
        assert holds, row
        assert parts_without_test(tests) == [], row


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_member_of_a_constant_class_is_told_with_its_string(name: str) -> None:
    kind: type[enum.StrEnum] = getattr(constants, name)
    told, _ = tables()["Constants"][name]
    for member in kind:
        if member in BEYOND:
            continue
        if told.startswith("each member is its own name: "):
            assert member.name == member.value
            assert f"`{member}`" in told
        else:
            assert f"`{member.name}` is `{member}`" in told


def test_what_is_published_is_part_of_the_product() -> None:
    assert set(ERRORS) <= error_types().keys()
    assert [name for name in METHODS if not callable(getattr(Client, name, None))] == []
    assert set(HELPERS) <= set(dataset.__all__)
    assert tables()["Constants"]["rafiki.config.SUPERADMIN_EMAIL"][0] == "`superadmin@rafiki`"


# ---- against the interface itself, where it lies beside this folder


def first_cells(text: str) -> list[str]:
    """The first cell of every row of every table, without the headers. Signs within code end no cell."""
    rows = re.findall(r"^\| .*$(?!\n\|---)", text, re.MULTILINE)
    return [re.match(r"\| ((?:`[^`]*`|[^|`])*) \|", row)[1].strip() for row in rows]  # type: ignore[index]


def wanted_of(cell: str) -> list[str]:
    """The names in a first cell; the cell itself where it is a sentence."""
    cell = re.sub(r"^`rafiki\.\w+`: ", "", cell)  # where the names that follow are imported from
    spans = re.findall(r"`([^`]+)`", cell)
    is_sentence = re.search(r"[a-z]", re.sub(r"`[^`]+`", "", cell))
    return [cell.replace("`", "")] if is_sentence else [row_of(f"`{s.removeprefix('@staticmethod ')}`") for s in spans]


def client_methods(text: str) -> list[str]:
    """The names outside of parentheses in the section about the client."""
    section = re.split(r"^## ", text, flags=re.MULTILINE)[4]
    names = ",".join(re.findall(r"`([^`]+)`", section.partition("\n")[2]))
    return re.findall(r"\w+", re.sub(r"\([^()]*\)", "", names))


def test_every_row_and_every_method_of_the_interface_beside_this_folder_is_listed() -> None:
    if not CONTRACT.is_file():
        pytest.skip("there is no ../shared/CONTRACT.md")
    text = CONTRACT.read_text("utf-8")
    listed = {row for rows in tables().values() for row in rows}
    wanted = [name for cell in first_cells(text) for name in wanted_of(cell)] + client_methods(text)
    assert len(wanted) > 70
    missing = [w for w in wanted if not any(row == w or row.endswith(w) or row.startswith(f"{w} ") for row in listed)]
    assert missing == []

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.errors import DuplicateModelNameError, InvalidModelError, ModelUsedError, NoModelsForTrainJobError

MODEL = "from rafiki.model import BaseModel\nclass Tree(BaseModel): ...\n"
CREATED = {"id": "m2", "user_id": "u1", "name": "Tree", "load_error": None}
PUBLIC_ID = "12345678-1234-1234-1234-123456789012"


def _model(id: str, user_id: str, name: str, task: str = "T") -> dict[str, Any]:
    return {
        "id": id, "user_id": user_id, "name": name, "task": task, "model_class": name, "load_error": None,
        "datetime_created": "2025-01-01T10:00:00Z", "dependencies": {}, "access_right": "PUBLIC",
        "docker_image": None, "knob_config": {"depth": {"type": "fixed", "value": 3}},
    }  # fmt: skip


@pytest.fixture
def server(server: ContractServer, folder: Path) -> ContractServer:
    """It has the user's model Tree, and refuses another one of that name until the first is deleted."""
    (folder / "m.py").write_text(MODEL)
    server.answers |= {
        "get_available_models": [_model(PUBLIC_ID, "other", "PubKnn"), _model("m0", "other", "Tree"),
                                 _model("m1", "u1", "Tree")],
        "get_model": InvalidModelError("You have no model."),
        "get_model_file": InvalidModelError("You have no model."),
        "create_model": lambda _: CREATED if _deleted(server) else DuplicateModelNameError("taken"),
        "delete_model": lambda request: {"id": request.model_id, "user_id": "u1", "name": "Tree"},
    }  # fmt: skip
    return server


def _deleted(server: ContractServer) -> list[str]:
    return [c.request.model_id for c in server.calls if c.name == "delete_model"]


def test_a_taken_name_is_refused_with_the_option_that_replaces(logged_in, server: ContractServer) -> None:
    result = logged_in("model", "upload", "m.py", "--task", "T")
    assert (result.code, result.out) == (ExitCode.REFUSED, "")
    assert "'Tree'" in result.err
    assert "--replace" in result.err
    assert _deleted(server) == []


def test_replace_deletes_the_own_model_of_that_name(logged_in, server: ContractServer) -> None:
    result = logged_in("model", "upload", "m.py", "--task", "T", "--replace", "-o", "json")
    assert json.loads(result.out) == CREATED
    assert _deleted(server) == ["m1"]


def test_replace_deletes_nothing_when_the_new_model_is_refused_anyway(logged_in, server: ContractServer) -> None:
    server.answers["create_model"] = InvalidModelError("The model file is empty.")
    assert logged_in("model", "upload", "m.py", "--task", "T", "--replace").code == ExitCode.REFUSED
    assert _deleted(server) == []


def test_a_model_in_use_is_neither_replaced_nor_deleted_and_named_as_typed(logged_in, server: ContractServer) -> None:
    server.answers["delete_model"] = ModelUsedError("A train job refers to the model m1.")
    result = logged_in("model", "upload", "m.py", "--task", "T", "--replace")
    assert result.code == ExitCode.REFUSED
    assert "--name Tree2" in result.err
    result = logged_in("model", "delete", "Tree")
    assert result == (ExitCode.REFUSED, "", "error: A train job refers to the model 'Tree', so it cannot be deleted.\n")


@pytest.mark.parametrize("wanted", ["PubKnn", PUBLIC_ID, "12345"])
def test_a_public_model_of_another_user_is_shown_without_its_file(logged_in, folder: Path, wanted: str) -> None:
    assert "depth" in logged_in("model", "show", wanted).out
    result = logged_in("model", "show", wanted, "--save", "copy.py")
    assert result.code == ExitCode.REFUSED
    assert "'PubKnn' belongs to another user" in result.err
    assert not (folder / "copy.py").exists()


@pytest.mark.parametrize(("task", "is_warned"), [("IMAGE_CLASIFICATION", True), ("image-classification", True),
                                                 ("IMAGE_CLASSIFICATION", False), ("FORECASTING", False)])  # fmt: skip
def test_a_task_that_looks_like_a_typo_is_told(
    logged_in, server: ContractServer, folder: Path, task: str, is_warned: bool
) -> None:
    server.answers["create_model"] = CREATED
    server.answers["create_dataset"] = {
        "id": "d", "name": "m", "task": task, "size_bytes": 1, "sha256": "",
        "datetime_created": "2025-01-01T10:00:00Z",
    }  # fmt: skip
    for noun in ("model", "dataset"):
        result = logged_in(noun, "upload", "m.py", "--task", task)
        assert result.code == 0
        assert ("Did you mean 'IMAGE_CLASSIFICATION'?" in result.err) is is_warned


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "Tree"], "The model 'Tree' is for T, not for OTHER."),
        (["--task", "T"], "--train: the dataset 'train' is for OTHER, not for T."),
        (["--val", "tval"], "--val: the dataset 'tval' is for T, not for OTHER."),
    ],
)
def test_a_dataset_and_a_model_of_two_tasks_are_told_apart(
    logged_in, server: ContractServer, arguments: list[str], message: str
) -> None:
    names = {"train": "OTHER", "val": "OTHER", "tval": "T"}
    server.answers["get_datasets"] = [{"id": n, "name": n, "task": t} for n, t in names.items()]
    server.answers["get_available_models"] = lambda request: [
        m for m in (_model("m1", "u1", "Tree"),) if request.task in (None, m["task"])
    ]
    result = logged_in("train", "create", "--app", "a", "--train", "train", "--val", "val", *arguments)
    assert (result.code, result.err) == (ExitCode.REFUSED, f"error: {message}\n")


def test_without_a_model_for_the_task_the_tasks_of_the_models_are_named(logged_in, server: ContractServer) -> None:
    server.answers["get_datasets"] = [{"id": n, "name": n, "task": "OTHER"} for n in ("train", "val")]
    server.answers["create_train_job"] = NoModelsForTrainJobError("No model is available for OTHER.")
    result = logged_in("train", "create", "--app", "a", "--train", "train", "--val", "val")
    assert result.code == ExitCode.REFUSED
    assert "No model is available for OTHER. The models you can use are for T." in result.err

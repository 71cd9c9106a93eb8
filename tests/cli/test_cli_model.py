from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.errors import DuplicateModelNameError, InvalidModelError, ModelUsedError, NoModelsForTrainJobError

MODEL = "from rafiki.model import BaseModel\nclass Tree(BaseModel): ...\n"
CREATED = {"id": "m2", "user_id": "u1", "name": "Tree", "version": 2, "is_new": True, "load_error": None, "notes": []}
PUBLIC_ID = "12345678-1234-1234-1234-123456789012"


def _model(id: str, user_id: str, name: str, task: str = "T", **more: Any) -> dict[str, Any]:
    fields = {
        "id": id, "user_id": user_id, "name": name, "task": task, "model_class": name, "load_error": None,
        "datetime_created": "2025-01-01T10:00:00Z", "dependencies": {}, "access_right": "PUBLIC",
        "docker_image": None, "knob_config": {"depth": {"type": "fixed", "value": 3}},
    }  # fmt: skip
    return fields | more


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


def _requests(server: ContractServer, name: str) -> list[Any]:
    return [c.request for c in server.calls if c.name == name]


def _deleted(server: ContractServer) -> list[str]:
    return [c.request.model_id for c in server.calls if c.name == "delete_model"]


def test_a_taken_name_becomes_the_next_version_and_what_changed_is_said(logged_in, server: ContractServer) -> None:
    server.answers["create_model"] = CREATED
    result = logged_in("model", "upload", "m.py", "--task", "T", "--dep", "numpy=>=1.26")
    assert (result.code, "Tree@2" in result.out) == (0, True)
    # The other one's file has another hash, it depends on nothing, and it is public.
    assert (
        "Uploaded as version 2 of Tree, because its file, dependencies and access changed since Tree@1." in result.err
    )
    [request] = _requests(server, "create_model")
    assert request.existing_name == "version"
    assert _deleted(server) == []


def test_what_is_there_already_is_not_uploaded(logged_in, server: ContractServer) -> None:
    server.answers["create_model"] = CREATED | {"is_new": False}
    result = logged_in("model", "upload", "m.py", "--task", "T")
    assert result.code == 0
    assert "Tree@2 is already that: nothing was uploaded." in result.err


def test_what_its_owner_should_know_is_said(logged_in, server: ContractServer) -> None:
    server.answers["create_model"] = CREATED | {"notes": ["docker_image a/b:1: it is not used"]}
    result = logged_in("model", "upload", "m.py", "--task", "T", "--docker-image", "a/b:1")
    assert "docker_image a/b:1: it is not used" in result.err


def test_a_new_name_holds_no_version(logged_in, server: ContractServer) -> None:
    result = logged_in("model", "upload", "m.py", "--task", "T", "--name", "wine@3")
    assert (result.code, _requests(server, "create_model")) == (ExitCode.USAGE, [])
    assert "--name wine." in result.err


def test_replace_deletes_the_newest_own_version_of_that_name(logged_in, server: ContractServer) -> None:
    server.answers["get_available_models"] += [_model("m1b", "u1", "Tree", version=2)]
    result = logged_in("model", "upload", "m.py", "--task", "T", "--replace", "-o", "json")
    assert json.loads(result.out) == CREATED
    assert _deleted(server) == ["m1b"]


def test_replace_deletes_nothing_when_the_new_model_is_refused_anyway(logged_in, server: ContractServer) -> None:
    server.answers["create_model"] = InvalidModelError("The model file is empty.")
    assert logged_in("model", "upload", "m.py", "--task", "T", "--replace").code == ExitCode.REFUSED
    assert _deleted(server) == []


def test_a_model_in_use_is_neither_replaced_nor_deleted_and_named_as_typed(logged_in, server: ContractServer) -> None:
    server.answers["delete_model"] = ModelUsedError("A train job refers to the model m1.")
    result = logged_in("model", "upload", "m.py", "--task", "T", "--replace")
    assert result.code == ExitCode.REFUSED
    assert "Without --replace this becomes version 2" in result.err
    result = logged_in("model", "delete", "Tree")
    assert result == (ExitCode.REFUSED, "", "error: A train job refers to the model 'Tree', so it cannot be deleted.\n")


VERSIONS = [
    _model("w1", "u1", "wine", version=1, model_file_sha256="a"),
    _model("o9", "other", "wine", version=9),
    _model("w2", "u1", "wine", version=2, model_file_sha256="b", dependencies={"numpy": ""}),
    _model("old", "u1", "wine-3f9c2a71"),
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("wine", "w2"), ("wine@1", "w1"), ("wine@2", "w2"), ("wine@9", "o9"), ("wine-3f9c2a71", "old"), ("w1", "w1")],
)
def test_a_name_is_the_newest_own_version_and_a_number_names_one(
    logged_in, server: ContractServer, wanted: str, found: str
) -> None:
    server.answers["get_available_models"] = VERSIONS
    assert json.loads(logged_in("model", "show", wanted, "-o", "json").out)["id"] == found
    assert _requests(server, "get_available_models")[0].all_versions


def test_a_version_that_there_is_not_is_refused_with_those_that_there_are(logged_in, server: ContractServer) -> None:
    server.answers["get_available_models"] = VERSIONS
    result = logged_in("model", "show", "wine@7")
    assert (result.code, result.out) == (ExitCode.NOT_FOUND, "")
    assert "no version 7 of 'wine'. There are: wine@1, wine@2." in result.err


def test_of_several_versions_one_has_to_be_named_to_be_deleted(logged_in, server: ContractServer) -> None:
    server.answers["get_available_models"] = VERSIONS
    result = logged_in("model", "delete", "wine")
    assert (result.code, _deleted(server)) == (ExitCode.USAGE, [])
    assert "wine@1, wine@2" in result.err
    assert logged_in("model", "delete", "wine@1").code == 0
    assert _deleted(server) == ["w1"]


def test_the_list_shows_versions_and_asks_for_all_of_them(logged_in, server: ContractServer) -> None:
    server.answers["get_available_models"] = lambda request: VERSIONS if request.all_versions else VERSIONS[2:]
    newest, everything = logged_in("model", "list").out, logged_in("model", "list", "--all-versions").out
    assert ("wine@2" in newest, "wine@1" in newest) == (True, False)
    assert "wine@1" in everything


def test_two_versions_are_compared_by_settings_and_lines(logged_in, server: ContractServer) -> None:
    files = {"w1": b"import numpy\nDEPTH = 3\n", "w2": b"import numpy\nDEPTH = 4\n"}
    server.answers |= {
        "get_available_models": VERSIONS,
        "get_model_file": lambda request: files[request.model_id],
    }
    result = logged_in("model", "diff", "wine@1", "wine@2")
    assert result.code == 0
    assert result.out.splitlines() == [
        "dependencies.numpy: none -> any version", "--- wine@1/wine.py", "+++ wine@2/wine.py", "@@ -1,2 +1,2 @@",
        " import numpy", "-DEPTH = 3", "+DEPTH = 4",
    ]  # fmt: skip
    assert logged_in("model", "diff", "wine").out == result.out
    assert logged_in("model", "diff", "wine", "wine@2").err.strip() == "wine@2 and wine@2 do not differ."
    as_json = json.loads(logged_in("model", "diff", "wine", "-o", "json").out)
    assert as_json["settings"] == [{"setting": "dependencies.numpy", "first": "none", "second": "any version"}]
    assert logged_in("model", "diff", "wine@1").code == ExitCode.REFUSED


@pytest.mark.parametrize(("found", "code"), [(None, 0), ("m.py: 1 / 0", ExitCode.REFUSED)])
def test_a_model_is_checked_again_and_both_results_are_shown(
    logged_in, server: ContractServer, found: str | None, code: int
) -> None:
    late = "importing it did not finish within 30 s"
    before = _model("w1", "u1", "wine", load_error=late, load_failure="machine", knob_config=None)
    server.answers |= {
        "get_available_models": [before],
        "check_model": _model("w1", "u1", "wine", load_error=found),
    }
    result = logged_in("model", "check", "wine@1")
    assert result.code == code
    assert late in result.out
    assert (found or "loads, 1 knob") in result.out
    as_json = json.loads(logged_in("model", "check", "wine", "-o", "json").out)
    assert (as_json["before"]["load_error"], as_json["now"]["load_error"]) == (late, found)


@pytest.mark.parametrize("wanted", ["PubKnn", PUBLIC_ID, "12345"])
def test_a_public_model_of_another_user_is_shown_without_its_file(logged_in, folder: Path, wanted: str) -> None:
    assert "depth" in logged_in("model", "show", wanted).out
    result = logged_in("model", "show", wanted, "--save", "copy.py")
    assert result.code == ExitCode.REFUSED
    assert "'PubKnn@1' belongs to another user" in result.err
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
        (["--model", "Tree"], "The model 'Tree@1' is for T, not for OTHER."),
        (["--task", "T"], "--train: the dataset 'train' is for OTHER, not for T."),
        (["--val", "tval"], "--val: the dataset 'tval' is for T, not for OTHER."),
    ],
)
def test_a_dataset_and_a_model_of_two_tasks_are_told_apart(
    logged_in, server: ContractServer, arguments: list[str], message: str
) -> None:
    names = {"train": "OTHER", "val": "OTHER", "tval": "T"}
    server.answers["get_datasets"] = [{"id": n, "name": n, "task": t} for n, t in names.items()]
    server.answers["get_available_models"] = [_model("m1", "u1", "Tree")]
    result = logged_in("train", "create", "--app", "a", "--train", "train", "--val", "val", *arguments)
    assert (result.code, result.err) == (ExitCode.REFUSED, f"error: {message}\n")


def test_without_a_model_for_the_task_the_tasks_of_the_models_are_named(logged_in, server: ContractServer) -> None:
    server.answers["get_datasets"] = [{"id": n, "name": n, "task": "OTHER"} for n in ("train", "val")]
    server.answers["create_train_job"] = NoModelsForTrainJobError("No model is available for OTHER.")
    result = logged_in("train", "create", "--app", "a", "--train", "train", "--val", "val")
    assert result.code == ExitCode.REFUSED
    assert "No model is available for OTHER. The models you can use are for T." in result.err

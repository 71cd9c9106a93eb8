from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.http.contract_server import ContractServer
from support.stacks.running_stack import MODELS

from rafiki.admin.ops.exports import ENGINE_PACKAGES
from rafiki.constants import ExitCode, Task
from rafiki.errors import InvalidModelError
from rafiki.param_store.codec import encode_params
from rafiki.tasks.registry import get_task
from rafiki_cli.export import folder as exports
from rafiki_cli.export import vendor
from rafiki_cli.export.check import is_same
from rafiki_cli.origin import Origin, OriginKind

TINY = (MODELS / "tiny.py").read_bytes()


def params(x: float) -> bytes:
    return encode_params({"x": x, "weights": np.arange(4, dtype=np.float32)})


PARAMS = {"t1": params(0.25), "t2": params(0.75)}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def member(trial_id: str, no: int, model_id: str = "m1", name: str = "Tiny", weight: float = 0.5) -> dict[str, Any]:
    return {
        "trial_id": trial_id, "no": no, "model_id": model_id, "model_name": name, "knobs": {"x": 0.1, "size": 4},
        "score": 0.9, "weight": weight, "params_sha256": sha256(PARAMS[trial_id]),
    }  # fmt: skip


def model(model_id: str = "m1", name: str = "Tiny", file: bytes = TINY, **packages: str) -> dict[str, Any]:
    return {
        "id": model_id, "name": name, "model_class": "Tiny", "file_sha256": sha256(file), "dependencies": {},
        "packages": {"numpy": np.__version__, **packages},
    }  # fmt: skip


@pytest.fixture
def view(server: ContractServer) -> dict[str, Any]:
    """What the admin tells of an app of two trials; change it before the export."""
    found = {
        "app": "demo", "app_version": 3, "train_job_id": "j1", "task": "CUSTOM", "rafiki_version": "9.8.7",
        "python_version": "3.11", "inference_job_id": None, "predictor_host": None, "ensemble": {"method": "mean"},
        "members": [member("t1", 1), member("t2", 2)], "models": [model()], "examples": [{"a": 1}, "b"],
    }  # fmt: skip
    server.answers |= {
        "get_export": lambda _: found,
        "get_model_file": TINY,
        "get_trial_parameters": lambda request: PARAMS[request.trial_id],
    }
    return found


def predict(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", folder / "predict.py", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_export_is_a_folder_that_predicts_by_itself(logged_in, view: dict[str, Any], folder: Path) -> None:
    result = logged_in("export", "demo")
    assert result.code == ExitCode.OK, result.err
    assert "it loads, and answers 2 queries of the validation dataset" in result.out
    found = {str(p.relative_to(folder / "demo-v3")) for p in (folder / "demo-v3").rglob("*") if p.is_file()}
    assert {
        "manifest.json", "README.md", "Dockerfile", "requirements.txt", "predict.py", "serve.py", "models/Tiny.py",
        "parameters/Tiny-1.safetensors", "parameters/Tiny-2.safetensors", "rafiki/NOTE.txt", "rafiki/model/base.py",
    } <= found  # fmt: skip
    # Of the engine only what serves.
    assert not {f for f in found if f.startswith(("rafiki/admin", "rafiki/worker", "rafiki/cache", "rafiki/advisor"))}
    assert not {f for f in found if "__pycache__" in f}
    done = predict(folder / "demo-v3", "--query", '"hello"')
    # A custom task: the best member answers, with the parameters of its trial and not with the knobs.
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["x"], answer["query"]) == (0, 0.25, "hello")
    assert (folder / "demo-v3" / "requirements.txt").read_text() == f"numpy=={np.__version__}\n"


def test_the_manifest_tells_members_weights_and_checksums(logged_in, view: dict[str, Any], folder: Path) -> None:
    told = json.loads(logged_in("export", "demo", "--to", "out", "-o", "json").out)
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert told == {**manifest, "folder": "out", "zip": None, "checked": {"n_queries": 2, "is_compared": False}}
    assert [manifest[k] for k in ("format", "app", "app_version", "task")] == ["rafiki-export", "demo", 3, "CUSTOM"]
    for entry in manifest["members"]:
        for file in (entry["model_file"], entry["parameters"]):
            assert sha256((folder / "out" / file["path"]).read_bytes()) == file["sha256"]
    assert [(m["name"], m["weight"]) for m in manifest["members"]] == [("Tiny#1", 0.5), ("Tiny#2", 0.5)]


def test_a_changed_file_is_noticed_when_the_export_runs(logged_in, view: dict[str, Any], folder: Path) -> None:
    assert logged_in("export", "demo", "--to", "out").code == 0
    with (folder / "out" / "models" / "Tiny.py").open("a") as f:
        f.write("# changed\n")
    done = predict(folder / "out", "--query", "1")
    assert done.returncode == ExitCode.FAILURE
    assert "is not what was exported" in done.stderr
    assert "Traceback" not in done.stderr


def test_lines_are_answered_one_by_one_and_a_bad_one_spoils_no_other(
    logged_in, view: dict[str, Any], folder: Path
) -> None:
    assert logged_in("export", "demo", "--to", "out").code == 0
    done = predict(folder / "out", stdin='1\nnot json\n\n"two"\n')
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line and line["query"] for line in lines] == [1, None, "two"]
    assert done.returncode == ExitCode.REFUSED
    assert "query 2: The query is no valid JSON" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--query", "{"], "this is not JSON"),
        (["--query-file", "none.json"], "No such file"),
        (["--queries-file", "one.json"], "must hold a JSON list"),
        (["--query-file", "one.png"], "damaged"),
    ],
)
def test_wrong_queries_are_refused_without_a_traceback(
    logged_in, view: dict[str, Any], folder: Path, arguments: list[str], says: str
) -> None:
    assert logged_in("export", "demo", "--to", "out").code == 0
    (folder / "one.json").write_text("1")
    (folder / "one.png").write_text("no image")
    done = predict(folder / "out", *arguments)
    assert done.returncode == ExitCode.REFUSED
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_there_is_replaced_with_force_alone_and_only_if_it_is_an_export(
    logged_in, view: dict[str, Any], folder: Path
) -> None:
    assert logged_in("export", "demo", "--to", "out").code == 0
    (folder / "out" / "mine.txt").write_text("")
    refused = logged_in("export", "demo", "--to", "out")
    assert (refused.code, "--force" in refused.err) == (ExitCode.USAGE, True)
    assert logged_in("export", "demo", "--to", "out", "--force").code == 0
    assert not (folder / "out" / "mine.txt").exists()
    (folder / "work").mkdir()
    (folder / "work" / "thesis.txt").write_text("")
    refused = logged_in("export", "demo", "--to", "work", "--force")
    assert (refused.code, "no export" in refused.err) == (ExitCode.USAGE, True)
    assert (folder / "work" / "thesis.txt").exists()


def test_a_zip_holds_the_whole_folder_under_its_name(logged_in, view: dict[str, Any], folder: Path) -> None:
    result = logged_in("export", "demo", "--to", "out", "--zip", "-o", "json")
    assert json.loads(result.out)["zip"] == "out.zip"
    with zipfile.ZipFile(folder / "out.zip") as archive:
        archive.extractall(folder / "elsewhere")
    assert json.loads(predict(folder / "elsewhere" / "out", "--query", "1").stdout)["x"] == 0.25
    refused = logged_in("export", "demo", "--to", "new", "--zip")
    assert refused.code == ExitCode.OK
    assert logged_in("export", "demo", "--to", "new", "--zip").code == ExitCode.USAGE


def test_an_export_that_does_not_work_leaves_nothing_behind(
    logged_in, server: ContractServer, view: dict[str, Any], folder: Path
) -> None:
    broken = TINY.replace(b'self.x = params["x"]', b'self.x = params["y"]')
    server.answers["get_model_file"] = broken
    view["models"] = [model(file=broken)]
    result = logged_in("export", "demo", "--to", "out")
    assert result.code == ExitCode.FAILURE
    assert "does not work by itself: Loading the trained model failed: KeyError: 'y'" in result.err
    assert not [p.name for p in folder.iterdir() if "out" in p.name]
    assert logged_in("export", "demo", "--to", "out", "--no-check").code == ExitCode.OK


def test_a_package_that_is_missing_is_named(logged_in, server: ContractServer, view: dict[str, Any]) -> None:
    needy = b"import glimmering_package\n" + TINY
    server.answers["get_model_file"] = needy
    view["models"] = [model(file=needy, **{"glimmering-package": "2.0"})]
    result = logged_in("export", "demo", "--to", "out")
    assert result.code == ExitCode.FAILURE
    assert "'glimmering_package'" in result.err
    assert "Not installed there: glimmering-package==2.0" in result.err
    assert "--python" in result.err


def test_other_versions_than_the_models_ran_with_are_told(logged_in, view: dict[str, Any]) -> None:
    view["models"] = [{**model(), "packages": {"numpy": "1.0"}}]
    result = logged_in("export", "demo", "--to", "out")
    assert result.code == ExitCode.OK
    assert f"{np.__version__} instead of numpy==1.0" in result.err


def test_members_that_need_two_versions_of_a_package_cannot_be_exported_together(
    logged_in, view: dict[str, Any], folder: Path
) -> None:
    view["models"] = [model(glimmer="1.0"), model("m2", "Other", glimmer="2.0")]
    view["members"] = [member("t1", 1), member("t2", 2, "m2", "Other")]
    result = logged_in("export", "demo", "--to", "out")
    assert result.code == ExitCode.FAILURE
    assert "Tiny runs with glimmer 1.0 and Other with glimmer 2.0" in result.err
    assert not (folder / "out").exists()


def test_what_was_damaged_on_its_way_is_refused(
    logged_in, server: ContractServer, view: dict[str, Any], folder: Path
) -> None:
    server.answers["get_trial_parameters"] = PARAMS["t2"]
    result = logged_in("export", "demo", "--to", "out")
    assert (result.code, (folder / "out").exists()) == (ExitCode.FAILURE, False)
    assert "not what the admin told of" in result.err


def test_any_name_of_a_model_makes_a_file_name_of_its_own(logged_in, view: dict[str, Any], folder: Path) -> None:
    view["models"] = [model("m1", "../a b"), model("m2", "A b")]
    view["members"] = [member("t1", 1, "m1", "../a b"), member("t2", 1, "m2", "A b")]
    assert logged_in("export", "demo", "--to", "out").code == 0
    assert sorted(p.name for p in (folder / "out" / "models").iterdir()) == ["A_b_2.py", "a_b.py"]
    assert len(list((folder / "out" / "parameters").iterdir())) == 2


def test_one_trial_is_chosen_by_its_name(logged_in, server: ContractServer, view: dict[str, Any], trial) -> None:
    server.answers["get_trials_of_train_job"] = [trial]
    assert logged_in("export", "demo", "--to", "out", "--trial", "SkSvm#1", "--no-check").code == 0
    [asked] = [c.request for c in server.calls if c.name == "get_export"]
    assert (asked.trial_id, asked.method) == (trial["id"], None)
    refused = logged_in("export", "demo", "--to", "new", "--trial", "SkSvm#1", "--ensemble", "best")
    assert refused.code == ExitCode.USAGE


def test_a_refusal_of_the_admin_is_passed_on(logged_in, server: ContractServer, folder: Path) -> None:
    server.answers["get_export"] = InvalidModelError("The model 'X' belongs to another user.")
    result = logged_in("export", "demo", "--to", "out")
    assert "belongs to another user" in result.err
    assert (result.out, (folder / "out").exists()) == ("", False)


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (Origin(kind=OriginKind.INDEX), "hills==1.0"),
        (
            Origin(kind=OriginKind.REPOSITORY, address="git+https://h/hills.git@1a"),
            "hills @ git+https://h/hills.git@1a",
        ),
        (
            Origin(kind=OriginKind.LOCAL_FOLDER, address="/srv/hills"),
            "HILLS IS MISSING HERE: it was installed from a fold",
        ),
    ],
)
def test_the_package_of_a_task_is_required_by_where_it_came_from(
    logged_in, view: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, origin: Origin, line: str
) -> None:
    found = exports.TaskPackage("hills", "1.0", origin)
    monkeypatch.setattr(exports, "find_task_package", lambda task: found)
    result = logged_in("export", "demo", "--no-check")
    assert result.code == 0
    first, *others = (folder / "demo-v3" / "requirements.txt").read_text().splitlines()
    assert first.startswith(line)
    assert others == [f"numpy=={np.__version__}"]
    assert ("(/srv/hills), which no other machine can fetch" in result.err) is origin.is_local


@pytest.mark.parametrize("task", [*Task, "CUSTOM"])
def test_what_travels_needs_no_other_packages_than_every_export_lists(task: str) -> None:
    task_module = type(get_task(task)).__module__
    modules = vendor.closure({*vendor._ENTRIES, task_module, *vendor._model_package()} - vendor._NOT_IN_AN_EXPORT)
    third: set[str] = set()
    for name in modules:
        file = vendor._file_of(name)
        assert file is not None
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, ast.Import):
                third |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                third.add(node.module.partition(".")[0])
    homes = {"PIL": "pillow"}
    assert {homes.get(m, m) for m in third - sys.stdlib_module_names - {"rafiki"}} <= set(ENGINE_PACKAGES)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([0.5, 0.5], [0.5, 0.5000000001], True),
        ([0.5, 0.5], [0.5, 0.51], False),
        ([0.5], [0.5, 0.5], False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"b": 1}, False),
        ("text", "text", True),
        (True, 1, True),
        (None, 0, False),
    ],
)
def test_predictions_are_the_same_up_to_rounding(a: Any, b: Any, same: bool) -> None:
    assert is_same(a, b) is same

"""Which model of the server a job's model is, from plain answers of the admin."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from support.http.complete_answers import record, records

from rafiki.client.records import AdminClient
from rafiki.contract.datasets import DatasetView
from rafiki.contract.models import ModelView
from rafiki.contract.users import UserView
from rafiki_cli.jobs.load import load_jobs
from rafiki_cli.jobs.observe import WantedModel, observe
from rafiki_cli.terminal import UsageError

FILE = "from rafiki.model import BaseModel\nclass Model(BaseModel): pass\n"
SHA256 = hashlib.sha256(FILE.encode()).hexdigest()


def wanted(folder: Path, model: str, rows: list[dict[str, Any]]) -> WantedModel:
    """What the job's model is when the server has these models."""
    (folder / "model.py").write_text(FILE)
    (folder / "job.yaml").write_text(
        f"{{app: demo, task: T, datasets: {{train: {{name: d}}, val: {{name: d}}}}, models: [{model}]}}"
    )
    common = {"user_id": "me", "task": "T", "model_class": "Model", "model_file_sha256": SHA256,
              "access_right": "PRIVATE"}  # fmt: skip
    client = create_autospec(AdminClient, instance=True)
    client.get_current_user.return_value = record({"id": "me"}, UserView)
    client.get_datasets.return_value = records([{"id": "d", "name": "d", "task": "T"}], DatasetView)
    client.get_available_models.return_value = records([common | row for row in rows], ModelView)
    client.get_train_jobs_of_app.return_value = []
    client.get_inference_jobs_of_app.return_value = []
    [found] = observe(client, load_jobs(folder / "job.yaml", {}, ())[0]).models
    return found


V1 = {"id": "v1", "name": "Model", "version": 1}
V2 = {"id": "v2", "name": "Model", "version": 2, "model_file_sha256": "other"}


def test_a_file_is_the_version_that_has_its_contents_though_a_newer_one_has_not(tmp_path: Path) -> None:
    found = wanted(tmp_path, "{file: model.py}", [V1, V2])
    assert found.found is not None
    assert (found.found.ref, found.newest.ref if found.newest else "", found.changes) == (
        "Model@1",
        "Model@2",
        ["file"],
    )


def test_of_versions_with_its_contents_a_file_is_the_newest(tmp_path: Path) -> None:
    found = wanted(tmp_path, "{file: model.py}", [V1, V2, {**V1, "id": "v3", "version": 3}])
    assert (found.found.id if found.found else "", found.changes) == ("v3", [])


@pytest.mark.parametrize(
    ("model", "row", "changes"),
    [
        ("{file: model.py, dependencies: {numpy: ''}}", V1, ["dependencies"]),
        ("{file: model.py, access: public}", V1, ["access"]),
        ("{file: model.py, docker_image: a/b}", V1, ["image"]),
        ("{file: model.py}", V1 | {"task": "OTHER", "dependencies": {"numpy": ""}}, ["task", "dependencies"]),
        ("{file: model.py}", V1 | {"load_error": "no torch"}, []),
    ],
)
def test_what_differs_is_uploaded_and_told(tmp_path: Path, model: str, row: dict[str, Any], changes: list[str]) -> None:
    found = wanted(tmp_path, model, [row])
    assert found.found is None
    assert (found.newest.ref if found.newest else "", found.changes) == ("Model@1", changes)


def test_what_an_earlier_version_of_rafiki_named_by_its_hash_is_found_by_its_contents(tmp_path: Path) -> None:
    found = wanted(tmp_path, "{file: model.py}", [V2 | {"version": 1}, {**V1, "id": "h", "name": "Model-3f9c2a71"}])
    assert found.found is not None
    assert found.found.id == "h"


@pytest.mark.parametrize(
    ("model", "id"),
    [("{name: Model}", "v2"), ("{name: Model@1}", "v1"), ("{id: v1}", "v1"), ("{name: Model-3f9c2a71}", "old"),
     ("{name: x@2}", "sign")],
)  # fmt: skip
def test_a_named_model_is_its_newest_version_or_the_one_that_is_named(tmp_path: Path, model: str, id: str) -> None:
    rows = [V1, V2, {"id": "old", "name": "Model-3f9c2a71"}, {"id": "sign", "name": "x@2"},
            {"id": "theirs", "name": "Model", "version": 7, "user_id": "other"}]  # fmt: skip
    found = wanted(tmp_path, model, rows)
    assert (found.found.id if found.found else "", found.newest) == (id, None)


def test_a_name_is_the_newest_version_though_it_is_of_another_task(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'Model@2' is for OTHER"):
        wanted(tmp_path, "{name: Model}", [V1, V2 | {"task": "OTHER"}])


def test_what_is_uploaded_names_no_version(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'wine@2' cannot be a name"):
        wanted(tmp_path, "{file: model.py, name: wine@2}", [])

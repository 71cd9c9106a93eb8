"""What the pages under docs/ say is complete, and true where a test can tell."""

from __future__ import annotations

import inspect
import io
import json
import re
import typing
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from image_zip import image_zip, png

import rafiki.model
from rafiki import errors
from rafiki.config import Config
from rafiki.constants import BudgetOption, InferenceBudgetOption, Task
from rafiki.contract import all as contract
from rafiki.contract.endpoint import ADMINS, ALL_USERS, MODEL_DEVELOPERS, SUPERADMIN, Endpoint
from rafiki.model import dataset
from rafiki.model.base import REQUIRED_METHODS, BaseModel
from rafiki.model.knobs import POLICIES
from rafiki.model.loader import load_model_class
from rafiki.param_store.codec import decode_params, encode_params
from rafiki.tasks.registry import get_task
from rafiki.tasks.zip_files import DEFAULT_LIMITS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def section(text: str, heading: str) -> str:
    """The text below a heading, without the sections beside it."""
    level, _, after = re.split(rf"^(#+) (`?){re.escape(heading)}\2\n", text, maxsplit=1, flags=re.MULTILINE)[1:]
    return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


# ---- settings ------------------------------------------------------------------------------------------------------


def settings() -> dict[str, Any]:
    config = msgspec.to_builtins(Config())
    return {f"{name}.{key}": value for name, keys in config.items() for key, value in keys.items()}


def test_every_setting_is_listed_with_its_default_and_its_variable() -> None:
    listed = {row[0].strip("`"): row for row in rows(section(page("settings.md"), "All settings")) if "." in row[0]}
    assert listed.keys() == settings().keys()
    for key, default in settings().items():
        _, text, _, meaning, variable = listed[key]
        assert yaml.safe_load(text.strip("`")) == default, key
        assert variable == f"`RAFIKI_{key.replace('.', '__').upper()}`"
        assert meaning


# ---- models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*rafiki.model.__all__, *POLICIES, "ModelDependency"])
def test_every_public_name_of_the_sdk_is_told(name: str) -> None:
    assert re.search(rf"`[^`\n]*\b{name}\b", page("models.md"))


@pytest.mark.parametrize("name", [n for n in vars(BaseModel) if not n.startswith("_")] + ["__init__"])
def test_every_method_of_a_model_has_a_row_with_its_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(BaseModel, name)).parameters.values()
    arguments = [p.replace(annotation=p.empty) for p in parameters]
    wanted = f"`{name}({', '.join(map(str, arguments))})`"
    assert wanted in [row[0] for row in rows(page("models.md"))]


@pytest.mark.parametrize("name", ["FixedKnob", "CategoricalKnob", "IntegerKnob", "FloatKnob", "PolicyKnob", "ArchKnob"])
def test_every_knob_has_a_row_with_its_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(rafiki.model, name)).parameters.values()
    arguments = ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default}" for p in parameters)
    assert f"`{name}({arguments})`" in [row[0] for row in rows(section(page("models.md"), "Knobs"))]


def test_every_helper_for_datasets_has_a_row() -> None:
    functions = {name for name in dataset.__all__ if inspect.isfunction(getattr(dataset, name))}
    told = section(page("models.md"), "Dataset helpers")
    assert functions <= {row[0].strip("`").partition("(")[0] for row in rows(told)}


def _picture_dataset() -> bytes:
    """Dark pictures of class 0, bright ones of class 1."""
    greys = [10, 30, 50, 200, 220, 250]
    csv = "path,class\n" + "".join(f"{grey}.png,{int(grey > 128)}\n" for grey in greys)
    return image_zip(csv, {f"{grey}.png": png(grey, size=8) for grey in greys})


def test_the_example_model_trains_and_serves(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(_picture_dataset())
    path = str(tmp_path / "data.zip")
    source = blocks(page("models.md"), "python")[0]
    model_class = load_model_class(source, "NearestMean")
    assert model_class.get_knob_config().keys() == {"image_size", "distance", "sharpness", "mode"}
    knobs = {"image_size": 8, "distance": "manhattan", "sharpness": 10.0, "mode": "L"}
    model = model_class(**knobs)
    model.train(path)
    assert model.evaluate(path) == 1.0
    served = model_class(**knobs)
    served.load_parameters(decode_params(encode_params(model.dump_parameters())))
    task = get_task(Task.IMAGE_CLASSIFICATION)
    dark, bright = (task.decode_query(json.dumps([[grey] * 4] * 4).encode()) for grey in (20, 240))
    predictions = [json.loads(task.encode_prediction(p)) for p in served.predict([dark, bright])]
    assert [int(np.argmax(p)) for p in predictions] == [0, 1]


def test_the_script_that_tries_a_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model, script = blocks(page("models.md"), "python")[:2]
    Path("nearest_mean.py").write_text(model)
    for name in ("train.zip", "val.zip"):
        Path(name).write_bytes(_picture_dataset())
    monkeypatch.setattr("sys.argv", ["try_model.py", "--image_size", "8"])
    names: dict[str, Any] = {}
    exec(compile(script, "docs/models.md", "exec"), names)
    assert [int(np.argmax(p)) for p in names["predictions"]] == [1, 0]
    said = capsys.readouterr().out
    assert "Trial 5: image_size=8" in said and "Best score: 1" in said


def test_the_methods_that_a_model_may_leave_out_are_called_optional() -> None:
    methods = {n for n in vars(BaseModel) if not n.startswith("_")}
    told = {row[0].strip("`").partition("(")[0]: row[1] for row in rows(section(page("models.md"), "The class"))}
    assert {n for n in methods if told[n].startswith("Optional")} == methods - set(REQUIRED_METHODS)


# ---- tasks ---------------------------------------------------------------------------------------------------------


def _wav(size_bytes: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as recording:
        recording.setparams((1, 2, 16_000, 0, "NONE", ""))
        recording.writeframes(bytes(size_bytes - 44))
    return out.getvalue()


def _zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def _lines(text: str) -> list[list[str]]:
    return [line.split(",") for line in text.splitlines()[1:]]


MAKE_DATASET: dict[Task, Callable[[str], bytes]] = {
    Task.IMAGE_CLASSIFICATION: lambda text: image_zip(text, {row[0]: png() for row in _lines(text)}),
    Task.POS_TAGGING: lambda text: _zip({"corpus.tsv": text.encode()}),
    Task.TABULAR_CLASSIFICATION: str.encode,
    Task.TABULAR_REGRESSION: str.encode,
    Task.SPEECH_RECOGNITION: lambda text: _zip(
        {"audios.csv": text.encode(), **{row[0]: _wav(int(row[1])) for row in _lines(text)}}
    ),
}


@pytest.mark.parametrize("task", list(Task))
def test_the_example_dataset_of_each_task_is_taken(task: Task, tmp_path: Path) -> None:
    text = section(page("tasks.md"), task)
    [example] = blocks(text, "csv") + blocks(text, "tsv")
    file = tmp_path / "dataset"
    file.write_bytes(MAKE_DATASET[task](example))
    get_task(task).validate_dataset(file)


@pytest.mark.parametrize("task", list(Task))
def test_the_example_query_and_prediction_of_each_task_are_taken(task: Task) -> None:
    rules = get_task(task)
    query, prediction = blocks(section(page("tasks.md"), task), "json")
    rules.decode_query(query.strip().encode())
    sent = json.loads(rules.encode_prediction(json.loads(prediction)))
    assert sent == rules.ensemble([sent]) == json.loads(prediction)


def test_the_limits_of_a_zip_are_told() -> None:
    text = page("tasks.md")
    assert f"{DEFAULT_LIMITS.max_entries:,} entries" in text
    assert f"{DEFAULT_LIMITS.max_total_bytes >> 30} GiB unpacked" in text
    assert f"{DEFAULT_LIMITS.max_ratio:g} times its packed size" in text
    assert f"above {DEFAULT_LIMITS.ratio_free_bytes >> 20} MiB" in text


# ---- errors --------------------------------------------------------------------------------------------------------


def test_every_error_is_listed_with_its_status_and_its_exit_code() -> None:
    listed = {row[0].strip("`"): row for row in rows(page("errors.md")) if row[0].startswith("`")}
    known = {name: kind for name, kind in errors.error_types().items() if kind.__module__ == errors.__name__}
    assert listed.keys() == known.keys()
    local = {row[0].strip("`") for row in rows(section(page("errors.md"), "What never comes over HTTP"))}
    for name, kind in known.items():
        _, status, code, when, what_to_do = listed[name]
        assert status == ("-" if name in local else str(kind.http_status)), name
        assert code == str(int(kind.exit_code)), name
        assert when and what_to_do


# ---- the REST interface --------------------------------------------------------------------------------------------


WHO = {None: "anyone", ALL_USERS: "all", MODEL_DEVELOPERS: "developers", ADMINS: "admins", SUPERADMIN: "superadmin"}
RECORDS = {
    "UserView": "User",
    "DatasetView": "Dataset",
    "ModelView": "Model",
    "EnvironmentView": "Environment",
    "TrainJobView": "Train job",
    "TrialView": "Trial",
    "InferenceJobView": "Inference job",
    "ServiceView": "Service",
}


def _fields(struct: Any) -> set[str]:
    return {f.name for f in msgspec.structs.fields(struct)}


def _named(text: str) -> set[str]:
    return {name.rstrip("?") for name in re.findall(r"`(\w+\??)`", text)}


def test_every_call_of_the_admin_has_a_row_and_no_other_has() -> None:
    listed = [row[0].strip("`") for row in rows(page("api.md")) if re.match(r"`(GET|POST|DELETE) ", row[0])]
    assert sorted(listed) == sorted(f"{e.method} {e.path}" for e in contract.ENDPOINTS.values())


@pytest.mark.parametrize("name", list(contract.ENDPOINTS))
def test_a_call_is_told_with_who_may_make_it_and_all_its_fields(name: str) -> None:
    endpoint: Endpoint[Any] = contract.ENDPOINTS[name]
    [row] = [r for r in rows(page("api.md")) if r[0] == f"`{endpoint.method} {endpoint.path}`"]
    _, who, request, answer = row
    assert who == WHO[endpoint.roles]
    assert _named(request) >= endpoint.fields.keys()
    optional = {f.name for f in msgspec.structs.fields(endpoint.request) if not f.required}
    assert {n for n in endpoint.fields if f"`{n}?`" in request} == optional
    response = endpoint.response
    if response is bytes:
        assert answer.startswith("bytes")
        return
    [view] = typing.get_args(response) or [response]
    if (record := RECORDS.get(view.__name__)) is None:
        assert _named(answer) >= _fields(view)
    else:
        assert f"(#{record.lower().replace(' ', '-')})" in answer
        listed = section(page("api.md"), record)
        assert set().union(*(_named(row[0]) for row in rows(listed))) == _fields(view)


@pytest.mark.parametrize("option", [*BudgetOption, *InferenceBudgetOption])
def test_every_option_of_a_budget_has_a_row(option: str) -> None:
    assert f"`{option}`" in [row[0] for row in rows(page("api.md"))]


# ---- links ---------------------------------------------------------------------------------------------------------


def _anchors(text: str) -> set[str]:
    """Of headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_within_the_repository_lead_somewhere(file: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), f"{link} in {file.name}"
        if anchor:
            assert anchor in _anchors(target.read_text("utf-8")), f"{link} in {file.name}"


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [file.name for file in DOCS.glob("*.md") if f"](docs/{file.name}" not in readme] == []

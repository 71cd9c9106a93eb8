"""What the pages under docs/ say is true where a test can tell: examples run, datasets are taken, numbers hold."""

from __future__ import annotations

import inspect
import io
import json
import re
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.data.image_zip import image_zip, png

import rafiki.model
from rafiki.constants import Task
from rafiki.model import dataset
from rafiki.model.base import REQUIRED_METHODS, BaseModel
from rafiki.model.knobs import POLICIES
from rafiki.model.loader import load_model_class
from rafiki.param_store.codec import decode_params, encode_params
from rafiki.tasks.registry import get_task
from rafiki.tasks.zip_files import DEFAULT_LIMITS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


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


# ---- models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*rafiki.model.__all__, *POLICIES])
def test_every_public_name_of_the_sdk_is_told(name: str) -> None:
    assert re.search(rf"`[^`\n]*\b{name}\b", page("reference/sdk.md"))


@pytest.mark.parametrize("name", [n for n in vars(BaseModel) if not n.startswith("_")] + ["__init__"])
def test_every_method_of_a_model_has_a_row_with_its_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(BaseModel, name)).parameters.values()
    arguments = [p.replace(annotation=p.empty) for p in parameters]
    wanted = f"`{name}({', '.join(map(str, arguments))})`"
    assert wanted in [row[0] for row in rows(page("reference/sdk.md"))]


@pytest.mark.parametrize("name", ["FixedKnob", "CategoricalKnob", "IntegerKnob", "FloatKnob", "PolicyKnob", "ArchKnob"])
def test_every_knob_has_a_row_with_its_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(rafiki.model, name)).parameters.values()
    arguments = ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default}" for p in parameters)
    assert f"`{name}({arguments})`" in [row[0] for row in rows(section(page("reference/sdk.md"), "Knobs"))]


def test_every_helper_for_datasets_has_a_row() -> None:
    functions = {name for name in dataset.__all__ if inspect.isfunction(getattr(dataset, name))}
    told = section(page("reference/sdk.md"), "Dataset helpers")
    assert functions <= {row[0].strip("`").partition("(")[0] for row in rows(told)}


def _picture_dataset() -> bytes:
    """Dark pictures of class 0, bright ones of class 1."""
    greys = [10, 30, 50, 200, 220, 250]
    csv = "path,class\n" + "".join(f"{grey}.png,{int(grey > 128)}\n" for grey in greys)
    return image_zip(csv, {f"{grey}.png": png(grey, size=8) for grey in greys})


def test_the_example_model_trains_and_serves(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(_picture_dataset())
    path = str(tmp_path / "data.zip")
    source = blocks(page("howto/write-a-model.md"), "python")[0]
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
    model, script = blocks(page("howto/write-a-model.md"), "python")[:2]
    Path("nearest_mean.py").write_text(model)
    for name in ("train.zip", "val.zip"):
        Path(name).write_bytes(_picture_dataset())
    monkeypatch.setattr("sys.argv", ["try_model.py", "--image_size", "8"])
    names: dict[str, Any] = {}
    exec(compile(script, "docs/howto/write-a-model.md", "exec"), names)
    assert [int(np.argmax(p)) for p in names["predictions"]] == [1, 0]
    said = capsys.readouterr().out
    assert "Trial 5: image_size=8" in said and "Best score: 1" in said


def test_the_methods_that_a_model_may_leave_out_are_called_optional() -> None:
    methods = {n for n in vars(BaseModel) if not n.startswith("_")}
    told = {row[0].strip("`").partition("(")[0]: row[1] for row in rows(section(page("reference/sdk.md"), "The class"))}
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
    text = section(page("reference/tasks.md"), task)
    [example] = blocks(text, "csv") + blocks(text, "tsv")
    file = tmp_path / "dataset"
    file.write_bytes(MAKE_DATASET[task](example))
    get_task(task).validate_dataset(file)


@pytest.mark.parametrize("task", list(Task))
def test_the_example_query_and_prediction_of_each_task_are_taken(task: Task) -> None:
    rules = get_task(task)
    query, prediction = blocks(section(page("reference/tasks.md"), task), "json")
    rules.decode_query(query.strip().encode())
    sent = json.loads(rules.encode_prediction(json.loads(prediction)))
    assert sent == rules.ensemble([sent]) == json.loads(prediction)


def test_the_limits_of_a_zip_are_told() -> None:
    text = page("reference/tasks.md")
    assert f"{DEFAULT_LIMITS.max_entries:,} entries" in text
    assert f"{DEFAULT_LIMITS.max_total_bytes >> 30} GiB unpacked" in text
    assert f"{DEFAULT_LIMITS.max_ratio:g} times its packed size" in text
    assert f"above {DEFAULT_LIMITS.ratio_free_bytes >> 20} MiB" in text

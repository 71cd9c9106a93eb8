"""``rafiki.model.dev.test_model_class``: a model's whole life without a stack, as model files call it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.data.image_zip import image_zip
from support.stacks.running_stack import MODELS

from rafiki.errors import InvalidModelError, InvalidTrainJobError, ModelError
from rafiki.model import dev

TREE = Path(__file__).parents[2] / "templates" / "models" / "image_classification" / "decision_tree.py"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "data.bin"
    file.write_bytes(b"anything")
    return file


def run(data: Path, file: Path = MODELS / "tiny.py", model_class: str = "Tiny", **fields: Any) -> Any:
    return dev.test_model_class(file, model_class, "CUSTOM", {}, data, data, **fields)


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["model.py"])


def test_the_best_of_the_trials_is_served(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions, model = run(data, budget={"MODEL_TRIAL_COUNT": 6}, queries=["a", "b"], test_dataset_path=data)
    scores = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines() if ": score" in line]
    assert len(scores) == 6
    assert [p["query"] for p in predictions] == ["a", "b"]
    assert predictions[0]["x"] == model.x
    assert 1 - (model.x - 0.3) ** 2 == pytest.approx(max(scores), abs=1e-5)


def test_arguments_fix_knobs_and_change_the_budget(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["model.py", "--x=0.25", "--MODEL_TRIAL_COUNT", "3", "--verbose", "rest"])
    _, model = run(data)
    assert model.x == 0.25


@pytest.mark.parametrize("argument", ["--x=7", "--x=text"])
def test_a_value_that_a_knob_cannot_take_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    monkeypatch.setattr(sys, "argv", ["model.py", argument])
    with pytest.raises(ModelError, match=r"0\.0 to 1\.0"):
        run(data)


def test_a_failing_model_is_an_error_that_names_its_line(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text((MODELS / "tiny.py").read_text().replace("time.sleep(sleep_s)", "raise ValueError('oh')"))
    with pytest.raises(ModelError, match=r"train\(\) failed: ValueError: oh \(line \d+ of broken.py, in train\)"):
        run(data, broken, budget={"MODEL_TRIAL_COUNT": 1})


def test_a_wrong_budget_is_refused(data: Path) -> None:
    with pytest.raises(InvalidTrainJobError, match="MODEL_TRIAL_COUNT"):
        run(data, budget={"MODEL_TRIAL_COUNT": -5})


def test_queries_go_through_the_tasks_checks(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures.zip"
    pictures.write_bytes(image_zip())
    budget = {"MODEL_TRIAL_COUNT": 1}
    query = np.zeros((2, 2, 3), dtype=np.uint8)
    predictions, _ = dev.test_model_class(
        TREE, "SkDt", "IMAGE_CLASSIFICATION", {}, pictures, pictures, budget=budget, queries=[query]
    )
    assert len(predictions[0]) == 2


def test_a_model_file_runs_itself(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    main = f"""
if __name__ == '__main__':
    from rafiki.model.dev import test_model_class
    test_model_class(model_file_path=__file__, model_class='Tiny', task='CUSTOM', dependencies={{}},
                     train_dataset_path={str(data)!r}, val_dataset_path={str(data)!r}, queries=[1])
"""
    file.write_text((MODELS / "tiny.py").read_text() + main)
    command = [sys.executable, str(file), "--MODEL_TRIAL_COUNT=2", "--x=0.5"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert "Trial 1: x=0.5" in done.stdout
    assert "Prediction: {'x': 0.5, 'query': 1" in done.stdout


def test_of_dependencies_that_are_not_installed_it_warns_with_the_command_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["model.py"])
    data = tmp_path / "data"
    data.write_bytes(b"1")
    wanted = {"no-such-package": ">=1,<2", "numpy": "", "scikit-learn": "0.1.0"}
    budget = {"MODEL_TRIAL_COUNT": "1", "ENABLE_GPU": 1}
    predictions, _ = dev.test_model_class(
        MODELS / "tiny.py", "Tiny", "CUSTOM", wanted, data, data, budget=budget, queries=[1]
    )
    assert len(predictions) == 1
    told = capsys.readouterr().err
    assert "no-such-package, scikit-learn" in told
    assert "pip install 'no-such-package>=1,<2' scikit-learn==0.1.0\n" in told
    assert "'ENABLE_GPU' is unknown" in told
    with pytest.raises(InvalidModelError, match="no name of a PyPI package"):
        dev.test_model_class(MODELS / "tiny.py", "Tiny", "CUSTOM", {"-r x": ""}, data, data)

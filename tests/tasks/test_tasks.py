import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.data.task_files import wav

from rafiki import registries
from rafiki.constants import Task
from rafiki.errors import InvalidQueryError, ModelPredictError
from rafiki.tasks.registry import get_task

WAV_64 = base64.b64encode(wav(8, rate=44_100))


@pytest.mark.parametrize(
    ("task", "predictions", "expected"),
    [
        ("IMAGE_CLASSIFICATION", [[0.5, 0.5], [1.0, 0.0]], [0.75, 0.25]),
        ("TABULAR_CLASSIFICATION", [[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5]),
        ("TABULAR_REGRESSION", [1.0, 2.0, 6.0], 3.0),
        ("POS_TAGGING", [[1, 2, 3], [2, 2, 1], [2, 1, 4]], [2, 2, 3]),
        ("POS_TAGGING", [[1, 2], [3], [1, 3]], [1, 2]),
        ("SPEECH_RECOGNITION", ["best", "second"], "best"),
        ("MY_TASK", [{"a": 1}, {"a": 2}], {"a": 1}),
    ],
)
def test_the_ensemble_follows_the_rule_of_the_task(task: str, predictions: list[Any], expected: Any) -> None:
    assert get_task(task).ensemble(predictions) == expected


@pytest.mark.parametrize(
    ("task", "prediction"),
    [("IMAGE_CLASSIFICATION", [0.1, 0.9]), ("TABULAR_REGRESSION", 2.5), ("POS_TAGGING", [1]), ("X", None)],
)
def test_one_member_alone_answers_unchanged(task: str, prediction: Any) -> None:
    assert get_task(task).ensemble([prediction]) == prediction


def test_members_that_disagree_on_the_number_of_classes_are_an_error() -> None:
    with pytest.raises(ModelPredictError, match="2, 3"):
        get_task("IMAGE_CLASSIFICATION").ensemble([[0.5, 0.5], [0.2, 0.3, 0.5]])


@pytest.mark.parametrize(
    ("task", "prediction", "raw"),
    [
        ("IMAGE_CLASSIFICATION", np.array([0.25, 0.75]), b"[0.25,0.75]"),
        ("IMAGE_CLASSIFICATION", [np.float64(0.25), np.float32(0.75)], b"[0.25,0.75]"),
        ("IMAGE_CLASSIFICATION", (0, 1), b"[0,1]"),
        ("TABULAR_REGRESSION", np.float32(2.5), b"2.5"),
        ("TABULAR_REGRESSION", np.array([2.5]), b"2.5"),
        ("POS_TAGGING", np.array([1, 2]), b"[1,2]"),
        ("POS_TAGGING", (np.int64(1), 2), b"[1,2]"),
        ("POS_TAGGING", [], b"[]"),
        ("SPEECH_RECOGNITION", "hello", b'"hello"'),
        ("X", {"a": np.arange(2), "b": [np.int64(3)], "c": float("nan")}, b'{"a":[0,1],"b":[3],"c":null}'),
    ],
)
def test_predictions_with_numpy_in_them_become_json(task: str, prediction: Any, raw: bytes) -> None:
    assert get_task(task).encode_prediction(prediction) == raw


@pytest.mark.parametrize(
    ("task", "prediction"),
    [
        *(
            ("IMAGE_CLASSIFICATION", p)
            for p in ([], "ab", None, 5, [[0.1]], [float("nan")], np.array([np.inf, 0]), {0: 1.0}, ["a"], [None])
        ),
        ("TABULAR_REGRESSION", "x"),
        ("TABULAR_REGRESSION", float("inf")),
        ("TABULAR_REGRESSION", [1.0, 2.0]),
        *(("POS_TAGGING", p) for p in ("tags", ["NOUN"], [1.5], [True], [[1]], None, np.array([0.5]), np.array(3))),
        ("SPEECH_RECOGNITION", 3),
        ("X", object()),
    ],
)
def test_a_prediction_of_another_form_blames_predict(task: str, prediction: Any) -> None:
    with pytest.raises(ModelPredictError, match=r"predict\(\)"):
        get_task(task).encode_prediction(prediction)


@pytest.mark.parametrize(
    ("task", "raw", "value"),
    [
        ("POS_TAGGING", rb'["a", "\\n"]', ["a", "\\n"]),
        ("TABULAR_REGRESSION", b'{"a": 1, "b": "x", "c": null, "d": true, "e": 1.5}',
         {"a": 1, "b": "x", "c": None, "d": True, "e": 1.5}),
        ("TABULAR_CLASSIFICATION", b"{}", {}),
        ("SPEECH_RECOGNITION", b'"%b"' % WAV_64, WAV_64.decode()),
        ("SPEECH_RECOGNITION", b'"%b\\n%b"' % (WAV_64[:8], WAV_64[8:]), (WAV_64[:8] + b"\n" + WAV_64[8:]).decode()),
    ],
)  # fmt: skip
def test_a_query_reaches_the_model_as_it_was_sent(task: str, raw: bytes, value: Any) -> None:
    assert get_task(task).decode_query(raw) == value


@pytest.mark.parametrize(
    ("task", "raw", "why"),
    [
        ("POS_TAGGING", b'["a", 1]', r"\$\[1\]"),
        ("POS_TAGGING", b'"a sentence"', "list of tokens"),
        ("POS_TAGGING", b"[]", "empty"),
        ("POS_TAGGING", b'["a", ""]', "token 1 is empty"),
        ("TABULAR_REGRESSION", b"[1, 2]", "feature ->"),
        ("TABULAR_REGRESSION", b'{"a": [1]}', "feature ->"),
        ("TABULAR_CLASSIFICATION", b'{"a": {"b": 1}}', "feature ->"),
        ("SPEECH_RECOGNITION", b"[1]", "base64"),
        ("SPEECH_RECOGNITION", b'"no base64!"', "base64"),
        ("SPEECH_RECOGNITION", '"é"'.encode(), "base64"),
        ("SPEECH_RECOGNITION", b'""', "no wav file"),
        ("SPEECH_RECOGNITION", b'"%b"' % base64.b64encode(b"ID3 an mp3"), "no wav file"),
        ("X", b"{", "JSON"),
    ],
)
def test_a_query_of_another_form_is_refused(task: str, raw: bytes, why: str) -> None:
    with pytest.raises(InvalidQueryError, match=why):
        get_task(task).decode_query(raw)


def test_any_other_name_is_a_custom_task_that_passes_everything_through(tmp_path: Path) -> None:
    task = get_task("MY_TASK")
    task.validate_dataset(tmp_path / "whatever")
    assert task.name == "MY_TASK"
    assert task.decode_query(b'{"any": [1, "thing"]}') == {"any": [1, "thing"]}


def test_the_published_names_of_tasks_are_registered() -> None:
    assert set(Task) <= set(registries.TASKS.builtin)
    assert all(get_task(name).name == name for name in registries.TASKS.builtin)


def test_tasks_are_looked_up_without_numpy_and_pillow() -> None:
    code = """
import sys
from rafiki.constants import Task
from rafiki.tasks.registry import get_task
for task in Task:
    get_task(task).ensemble
sys.exit(bool({'numpy', 'PIL'} & sys.modules.keys()))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

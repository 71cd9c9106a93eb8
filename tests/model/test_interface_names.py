"""The names, strings, arguments and attributes of the SDK that existing model files rely on."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.stacks.running_stack import MODELS

import rafiki.constants
from rafiki.advisor.schemes import make_advisor
from rafiki.budget import parse_train_budget
from rafiki.config import SUPERADMIN_EMAIL
from rafiki.errors import InvalidTrainJobError, ModelError
from rafiki.model import (
    ArchKnob,
    BaseModel,
    CategoricalKnob,
    FixedKnob,
    FloatKnob,
    IntegerKnob,
    KnobValue,
    PolicyKnob,
    dev,
    load_model_class,
    utils,
)
from rafiki.model.knobs import POLICIES, knob_config_from_json, knob_config_to_json
from rafiki.settings import Config

# ---- constants

CONSTANTS = {
    "BudgetOption": ["GPU_COUNT", "TIME_HOURS", "MODEL_TRIAL_COUNT"],
    "InferenceBudgetOption": ["GPU_COUNT"],
    "ModelAccessRight": ["PUBLIC", "PRIVATE"],
    "TrainJobStatus": ["STARTED", "RUNNING", "STOPPED", "ERRORED"],
    "InferenceJobStatus": ["STARTED", "RUNNING", "STOPPED", "ERRORED"],
    "TrialStatus": ["PENDING", "RUNNING", "ERRORED", "COMPLETED"],
    "UserType": ["SUPERADMIN", "ADMIN", "MODEL_DEVELOPER", "APP_DEVELOPER"],
    "ServiceType": ["TRAIN", "ADVISOR", "PREDICT", "INFERENCE"],
    "ServiceStatus": ["STARTED", "DEPLOYING", "RUNNING", "ERRORED", "STOPPED"],
}
DEPENDENCIES = {
    "TENSORFLOW": "tensorflow", "KERAS": "Keras", "SCIKIT_LEARN": "scikit-learn", "TORCH": "torch",
    "TORCHVISION": "torchvision", "SINGA": "singa", "XGBOOST": "xgboost", "DS_CTCDECODER": "ds-ctcdecoder",
}  # fmt: skip
MEMBERS = [
    *((kind, name, name) for kind, names in CONSTANTS.items() for name in names),
    *(("ModelDependency", name, string) for name, string in DEPENDENCIES.items()),
]


@pytest.mark.parametrize(("kind", "name", "string"), MEMBERS)
def test_each_member_of_a_constant_class_is_its_string(kind: str, name: str, string: str) -> None:
    member = getattr(getattr(rafiki.constants, kind), name)
    assert isinstance(member, str)
    assert (member, str(member), f"{member}") == (string,) * 3
    assert json.dumps({member: member}) == json.dumps({string: string})
    assert {member: 1}[string] == 1


def test_the_superadmin_and_the_port_of_the_admin_are_the_published_ones() -> None:
    assert (SUPERADMIN_EMAIL, Config().admin.port) == ("superadmin@rafiki", 3000)


# ---- arguments

ARGUMENTS: list[tuple[Callable[..., Any], str]] = [
    (BaseModel.__init__, "self, **knobs"),
    (BaseModel.get_knob_config, ""),
    (BaseModel.train, "self, dataset_path, shared_params=None, **train_args"),
    (BaseModel.evaluate, "self, dataset_path"),
    (BaseModel.predict, "self, queries"),
    (BaseModel.dump_parameters, "self"),
    (BaseModel.load_parameters, "self, params"),
    (BaseModel.destroy, "self"),
    (BaseModel.teardown, ""),
    (FixedKnob, "value"),
    (CategoricalKnob, "values"),
    (IntegerKnob, "value_min, value_max, is_exp=False"),
    (FloatKnob, "value_min, value_max, is_exp=False"),
    (PolicyKnob, "policy"),
    (ArchKnob, "items"),
    (KnobValue, "value"),
    (utils.logger.log, "msg='', **metrics"),
    (utils.logger.define_plot, "title, metrics, x_axis=None"),
    (utils.logger.define_loss_plot, ""),
    (utils.logger.log_loss, "loss, epoch"),
    (
        utils.dataset.load_dataset_of_image_files,
        "path, min_image_size=None, max_image_size=None, mode='RGB', if_shuffle=False",
    ),
    (utils.dataset.load_dataset_of_corpus, r"path, tags=None, split_by='\\n'"),
    (utils.dataset.load_dataset_of_audio_files, "path, dataset_dir"),
    (utils.dataset.normalize_images, "images, mean=None, std=None"),
    (utils.dataset.transform_images, "images, image_size=None, mode=None"),
    (utils.dataset.load_images, "paths, mode='RGB'"),
    (
        dev.test_model_class,
        "model_file_path, model_class, task, dependencies, train_dataset_path, val_dataset_path, "
        "test_dataset_path=None, budget=None, train_args=None, queries=None",
    ),
    (load_model_class, "model_file_bytes, model_class"),
]


@pytest.mark.parametrize(("call", "published"), ARGUMENTS, ids=lambda v: getattr(v, "__qualname__", None))
def test_a_call_of_the_sdk_takes_its_published_arguments(call: Callable[..., Any], published: str) -> None:
    takes = [(p.name, p.kind, p.default) for p in inspect.signature(call).parameters.values()]
    wanted = inspect.signature(eval(f"lambda {published}: 0")).parameters.values()
    assert takes[: len(wanted)] == [(p.name, p.kind, p.default) for p in wanted]
    # Whatever came later may be left out.
    assert all(default is not inspect.Parameter.empty for _, _, default in takes[len(wanted) :])


@pytest.mark.parametrize("name", ["get_knob_config", "teardown"])
def test_what_is_called_without_an_instance_is_static(name: str) -> None:
    assert isinstance(inspect.getattr_static(BaseModel, name), staticmethod)


# ---- knobs


def values_of(found: Any) -> Any:
    """The plain values behind KnobValue objects, however they are nested."""
    if isinstance(found, list):
        return [values_of(v) for v in found]
    return found.value if isinstance(found, KnobValue) else found


@pytest.mark.parametrize(
    ("knob", "attributes"),
    [
        (FixedKnob("adam"), {"value": "adam", "value_type": str}),
        (FixedKnob(KnobValue(3)), {"value": 3, "value_type": int}),
        (CategoricalKnob([True, False]), {"values": [True, False], "value_type": bool}),
        (CategoricalKnob([KnobValue(1), 2]), {"values": [1, 2], "value_type": int}),
        (IntegerKnob(2, 8), {"value_min": 2, "value_max": 8, "is_exp": False, "value_type": int}),
        (FloatKnob(1e-3, 1, is_exp=True), {"value_min": 1e-3, "value_max": 1.0, "is_exp": True, "value_type": float}),
        (PolicyKnob("EARLY_STOP"), {"policy": "EARLY_STOP", "value_type": bool}),
        (ArchKnob([[1, 2], [3]]), {"items": [[1, 2], [3]], "value_type": int}),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_knob_tells_what_it_was_made_of(knob: Any, attributes: dict[str, Any]) -> None:
    assert {name: values_of(getattr(knob, name)) for name in attributes} == attributes


@pytest.mark.parametrize(("value", "kind"), [(3, int), (0.5, float), (True, bool), ("a", str)])
def test_candidates_are_values_with_their_type(value: Any, kind: type) -> None:
    for candidate in (KnobValue(value), FixedKnob(value).value, CategoricalKnob([value]).values[0]):
        assert (candidate.value, candidate.dtype) == (value, kind)
    assert ArchKnob([[value]]).items[0][0].dtype is kind


@pytest.mark.parametrize("values", [[1, "a"], [1, True], [1, 2.0], [[1]], [None]])
def test_a_knob_has_candidates_of_one_type(values: list[Any]) -> None:
    for make in (CategoricalKnob, lambda v: ArchKnob([[1], v])):
        with pytest.raises(ModelError, match=r"one type|must be an int, float, bool or str"):
            make(values)


def test_the_same_candidate_at_two_positions_stays_the_same_on_its_way_to_the_search() -> None:
    shared = KnobValue(1)
    knob = ArchKnob([[shared, KnobValue(2)], [KnobValue(1), shared]])
    travelled = knob_config_from_json(json.loads(json.dumps(knob_config_to_json({"cell": knob}))))["cell"]
    assert isinstance(travelled, ArchKnob)
    for items in (knob.items, travelled.items):
        assert items[0][0] is items[1][1]
        assert items[0][0] is not items[1][0]
    # One choice for each position, in plain values.
    for no in range(1, 9):
        advisor = make_advisor({"cell": knob}, parse_train_budget({}), seed=no)
        assert advisor.propose(1).knobs["cell"] in ([a, b] for a in (1, 2) for b in (1,))


SEARCHED: dict[str, dict[str, Any]] = {
    "fixed": {"a": FixedKnob(1)},
    "tuned": {"x": FloatKnob(0, 1)},
    "arch": {"cell": ArchKnob([[1, 2, 3], [1, 2, 3]])},
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("knobs", SEARCHED)
def test_a_policy_is_a_bool_that_is_off_unless_the_search_turns_it_on(policy: str, knobs: str) -> None:
    config, budget = {**SEARCHED[knobs], "p": PolicyKnob(policy)}, parse_train_budget({"MODEL_TRIAL_COUNT": 10})
    advisor = make_advisor(config, budget, seed=0)
    found = set()
    for no in range(1, (advisor.max_trials or 10) + 1):
        value = advisor.propose(no).knobs["p"]
        assert type(value) is bool
        found.add(value)
        advisor.feedback(no, float(no))
    turned_on = {"SHARE_PARAMS": {True}, "EARLY_STOP": {True, False}}
    assert found == (turned_on.get(policy, {False}) if knobs == "tuned" else {False})


# ---- test_model_class and the options of its command line


def scores_of(out: str) -> list[float]:
    return [float(line.split()[-1]) for line in out.splitlines() if line.startswith("Trial") and ": score" in line]


@pytest.mark.parametrize(
    ("options", "n_trials"),
    [
        ([], 4),
        (["--MODEL_TRIAL_COUNT=2"], 2),
        (["--MODEL_TRIAL_COUNT", "3", "--GPU_COUNT", "0"], 3),
        # The time is over after the first trial, which every job gets.
        (["--TIME_HOURS=1e-9"], 1),
    ],
)
def test_the_budget_of_the_command_line_goes_first(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    n_trials: int,
) -> None:
    monkeypatch.setattr(sys, "argv", ["model.py", *options])
    (tmp_path / "data").write_bytes(b"anything")
    files = [tmp_path / "data"] * 2
    predictions, model = dev.test_model_class(
        MODELS / "tiny.py", "Tiny", "CUSTOM", {}, *files, budget={"MODEL_TRIAL_COUNT": 4}, queries=[1]
    )
    scores = scores_of(capsys.readouterr().out)
    assert len(scores) == n_trials
    assert isinstance(model, BaseModel)
    assert 1 - (predictions[0]["x"] - 0.3) ** 2 == pytest.approx(max(scores), abs=1e-5)


@pytest.mark.parametrize("option", ["TIME_HOURS", "GPU_COUNT", "MODEL_TRIAL_COUNT"])
def test_a_wrong_budget_of_the_command_line_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["model.py", f"--{option}=-7"])
    (tmp_path / "data").write_bytes(b"anything")
    with pytest.raises(InvalidTrainJobError, match=option):
        dev.test_model_class(MODELS / "tiny.py", "Tiny", "CUSTOM", {}, *[tmp_path / "data"] * 2)

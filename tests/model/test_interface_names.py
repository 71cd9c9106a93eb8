"""The names, strings, arguments and attributes of the SDK that existing model files rely on."""

from __future__ import annotations

import inspect
import json
import sys
import typing
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.data.image_zip import image_zip
from support.stacks.running_stack import MODELS

import rafiki.constants
from rafiki.advisor.schemes import make_advisor
from rafiki.budget import parse_train_budget
from rafiki.config import SUPERADMIN_EMAIL
from rafiki.constants import Budget, InferenceBudget, ModelDependencies, ModelDependency
from rafiki.errors import InvalidTrainJobError, ModelError
from rafiki.model import (
    ArchKnob,
    BaseModel,
    CategoricalKnob,
    CategoricalValue,
    CorpusDataset,
    DatasetUtils,
    FixedKnob,
    FloatKnob,
    ImageFilesDataset,
    IntegerKnob,
    KnobValue,
    LoggerUtils,
    PolicyKnob,
    deserialize_knob_config,
    dev,
    load_model_class,
    parse_model_install_command,
    serialize_knob_config,
    utils,
)
from rafiki.model.knobs import POLICIES, check_knobs, knob_config_from_json, knob_config_to_json
from rafiki.settings import DEFAULT_ADMIN_PORT

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
    assert (SUPERADMIN_EMAIL, DEFAULT_ADMIN_PORT) == ("superadmin@rafiki", 3000)


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
        (ArchKnob([[1, 2], [3]]), {"items": [[1, 2], [3]], "value_type": list}),
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
    with pytest.raises(ModelError, match=r"one type|must be an int, float, bool or str"):
        CategoricalKnob(values)


def test_an_architecture_may_have_candidates_of_several_types() -> None:
    knob = ArchKnob([[KnobValue(0)], [KnobValue("conv3x3"), KnobValue("pool")], [KnobValue(0), KnobValue(1.5), True]])
    assert knob.value_type is list
    config = deserialize_knob_config(serialize_knob_config({"cell": knob}))
    travelled = config["cell"]
    assert isinstance(travelled, ArchKnob)
    wanted = [[int], [str, str], [int, float, bool]]
    assert [[v.dtype for v in position] for position in travelled.items] == wanted
    drawn: set[Any] = set()
    for no in range(1, 60):
        proposal = make_advisor(config, parse_train_budget({}), seed=no).propose(1)
        choices = check_knobs(config, proposal.knobs)["cell"]
        assert [type(c) in kinds for c, kinds in zip(choices, wanted, strict=True)] == [True] * 3
        drawn.add(tuple(map(repr, choices)))
    assert len(drawn) == 6


@pytest.mark.parametrize("position", [[1, True], [0, 0.0], [False, 0]])
def test_an_architecture_has_no_two_candidates_at_one_position_that_only_look_different(position: list[Any]) -> None:
    with pytest.raises(ModelError, match="are equal"):
        ArchKnob([["a"], position])


# ---- names that came with the first generation


def test_a_configuration_of_knobs_becomes_text_and_comes_back() -> None:
    shared = KnobValue("conv")
    config = {
        "fixed": FixedKnob(3), "choice": CategoricalKnob(["a", "b"]), "count": IntegerKnob(1, 8, is_exp=True),
        "rate": FloatKnob(1e-4, 1, is_exp=True), "early": PolicyKnob("EARLY_STOP"),
        "cell": ArchKnob([[shared, 0], [shared]]),
    }  # fmt: skip
    text = serialize_knob_config(config)
    assert isinstance(text, str)
    for given in (text, text.encode()):
        back = deserialize_knob_config(given)
        assert back == config
        cell = back["cell"]
        assert isinstance(cell, ArchKnob)
        assert cell.items[0][0] is cell.items[1][0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"a": 1}',
        '{"a": {"type": "odd"}}',
        '{"a": {"type": "arch", "values": [1], "items": [[5]]}}',
        b"\x80\x04.",
    ],
)
def test_text_that_is_no_configuration_of_knobs_is_refused(text: str | bytes) -> None:
    with pytest.raises(ModelError):
        deserialize_knob_config(text)


@pytest.mark.parametrize(
    ("dependencies", "gpu", "command"),
    [
        ({}, False, ""),
        ({"scikit-learn": "0.20.0"}, False, "pip install scikit-learn==0.20.0"),
        (
            {ModelDependency.KERAS: "2.2.4", "numpy": ">=1.16,<2", "tqdm": ""},
            False,
            "pip install Keras==2.2.4 'numpy>=1.16,<2' tqdm",
        ),
        ({ModelDependency.TENSORFLOW: "1.12.0"}, False, "pip install tensorflow==1.12.0"),
        ({ModelDependency.TENSORFLOW: "1.12.0"}, True, "pip install tensorflow-gpu==1.12.0"),
        ({ModelDependency.TENSORFLOW: "2.16.1", "torch": "2.2.0"}, True, "pip install tensorflow==2.16.1 torch==2.2.0"),
    ],
)
def test_the_command_that_installs_a_models_dependencies(dependencies: Any, gpu: bool, command: str) -> None:
    assert parse_model_install_command(dependencies, enable_gpu=gpu) == command


@pytest.mark.parametrize("dependencies", [{"a b": "1"}, {"; rm -rf /": ""}, {"numpy": "one"}])
def test_dependencies_that_are_none_make_no_command(dependencies: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="no PyPI package"):
        parse_model_install_command(dependencies)


def test_the_helpers_are_there_as_classes_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus.zip"
    with zipfile.ZipFile(corpus, "w") as archive:
        archive.writestr("corpus.tsv", "token\ttag\na\t0\nb\t2\n\\n\t\n")
    for loaded in (CorpusDataset(str(corpus), ["tag"], "\\n"), DatasetUtils().load_dataset_of_corpus(str(corpus))):
        assert [loaded.path, loaded.tags, loaded.size, loaded[0]] == [str(corpus), ["tag"], 1, [["a", 0], ["b", 2]]]
    (tmp_path / "images.zip").write_bytes(image_zip())
    images = ImageFilesDataset(str(tmp_path / "images.zip"))
    assert [(i.tolist(), c) for i, c in images] == [(images[n][0].tolist(), images[n][1]) for n in range(images.size)]
    with pytest.raises(IndexError):
        images[images.size]
    LoggerUtils().log("said", loss=0.5)
    assert capsys.readouterr().out == "said\nloss=0.5\n"


def test_the_types_of_budgets_and_dependencies_are_there() -> None:
    assert [typing.get_args(t)[0] for t in (Budget, InferenceBudget, ModelDependencies)] == [
        rafiki.constants.BudgetOption, rafiki.constants.InferenceBudgetOption, str
    ]  # fmt: skip
    assert KnobValue in typing.get_args(CategoricalValue)


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

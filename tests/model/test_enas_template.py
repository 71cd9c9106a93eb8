"""The bundled template for architecture search, on real data. Needs torch: skips without it, fails in CI."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.data.dataset_loaders import load_loader

from rafiki.advisor.base import Ask, SearchSetup
from rafiki.advisor.enas import EnasAdvisor
from rafiki.model import logger
from rafiki.model.knobs import ArchKnob, check_knobs, from_knob_specs
from rafiki.model.loader import load_model_class_from_path
from rafiki.model_check.knob_reader import read_knob_config
from rafiki.param_store.codec import decode_params, encode_params

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TEMPLATE = Path(__file__).parents[2] / "templates" / "models" / "image_classification" / "enas_cnn.py"
CELL = ["conv3x3", "before", "identity", "conv3x3", "last", "max_pool"]
CELL += ["conv1x1", "node0", "avg_pool", "conv3x3", "before", "identity"]
TRAIN = {"share_params": True, "early_stop": True, "downscale": True}
SEARCH = {"share_params": True, "skip_train": True, "quick_eval": True, "downscale": True}


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logger.set_sink(lambda entry: None)
    yield
    logger.set_sink(None)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return tuple(map(str, load_loader("load_digits").write_digits(tmp_path_factory.mktemp("digits"))))


@pytest.fixture(scope="module")
def model_class() -> Iterator[Any]:
    found: Any = load_model_class_from_path(TEMPLATE, "EnasCnn")
    yield found
    found.teardown()


def make(model_class: Any, **knobs: Any) -> Any:
    config = model_class.get_knob_config()
    defaults = {name: knob.value.value if hasattr(knob, "value") else False for name, knob in config.items()}
    return model_class(**defaults | {"cell": CELL} | knobs)


def shared(model: Any) -> Any:
    """Parameters as they travel."""
    return decode_params(encode_params(model.dump_parameters()))


def test_its_knobs_are_read_with_values_that_mean_the_same_everywhere() -> None:
    reading = read_knob_config(TEMPLATE.read_bytes(), "EnasCnn", TEMPLATE.name)
    assert reading.error is None
    cell = from_knob_specs(reading.knob_config or {})["cell"]
    assert isinstance(cell, ArchKnob)
    assert len(cell) == 12
    operations = cell.items[::3] + cell.items[2::3]
    assert len({id(candidate) for position in operations for candidate in position}) == 5
    assert [len(position) for position in cell.items[1::3]] == [2, 3, 4, 5]


def test_a_full_training_reads_handwritten_digits_and_is_served_from_its_parameters(
    digits: tuple[str, ...], model_class: Any
) -> None:
    model = make(model_class, max_epochs=5)
    model.train(digits[0])
    assert model.evaluate(digits[2]) >= 0.94
    other = make(model_class, max_epochs=5)
    other.load_parameters(shared(model))
    queries = [np.random.default_rng(0).integers(0, 256, s).astype(np.uint8) for s in [(8, 8, 3), (30, 17, 3), (8, 8)]]
    predictions = other.predict(queries)
    assert predictions == model.predict(queries)
    assert [sum(p) for p in predictions] == pytest.approx([1.0] * 3)
    # One query alone is answered as it is among others.
    assert other.predict(queries[:1])[0] == pytest.approx(predictions[0], abs=1e-4)


def test_shared_weights_get_better_for_an_architecture_that_no_training_had(
    digits: tuple[str, ...], model_class: Any
) -> None:
    rng = random.Random(0)
    positions = model_class.get_knob_config()["cell"].items
    scores, params = [], None
    for _ in range(15):
        cell = [rng.choice(candidates).value for candidates in positions]
        model = make(model_class, cell=cell, **TRAIN)
        model.train(digits[1], shared_params=params)
        params = shared(model)
        judge = make(model_class, **SEARCH)
        judge.train(digits[1], shared_params=params)
        scores.append(judge.evaluate(digits[2]))
    assert params is not None
    assert params["n_epochs"] == 15
    assert np.mean(scores[-3:]) > np.mean(scores[:3]) + 0.15


def test_shared_weights_do_not_hold_many_convolutions_against_an_architecture(
    digits: tuple[str, ...], model_class: Any
) -> None:
    rng = random.Random(1)
    positions = model_class.get_knob_config()["cell"].items
    params = None
    for _ in range(20):
        model = make(model_class, cell=[rng.choice(candidates).value for candidates in positions], **TRAIN)
        model.train(digits[1], shared_params=params)
        params = shared(model)

    def score(operation: str) -> float:
        inputs = ["before", "last", "node0", "node1"]
        judge = make(model_class, cell=[choice for name in inputs for choice in (operation, name, operation)], **SEARCH)
        judge.train(digits[1], shared_params=params)
        return float(judge.evaluate(digits[2]))

    # By how much depends on how a processor rounds.
    assert score("conv3x3") > score("avg_pool")


def test_every_node_is_on_the_way_of_every_architecture(digits: tuple[str, ...], model_class: Any) -> None:
    model = make(model_class, cell=["conv1x1", "before", "identity"] * 4, max_epochs=1)
    model.train(digits[1])
    params, query = shared(model), [np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)]
    before = model.predict(query)
    for node in range(4):
        name = f"weights/cells.0.operations.{node}_0_conv1x1.convolution.0.weight"
        model.load_parameters({**params, name: -params[name]})
        assert model.predict(query) != before, name


def test_an_evaluation_leaves_the_shared_weights_as_they_are_and_keeps_its_own_only(
    digits: tuple[str, ...], model_class: Any
) -> None:
    trained = make(model_class, **TRAIN)
    trained.train(digits[1])
    params = shared(trained)
    model = make(model_class, **SEARCH)
    model.train(digits[1], shared_params=params)
    assert model.evaluate(digits[2]) == model.evaluate(digits[2])
    found = model.dump_parameters()
    weights = [name for name in found if name.endswith("0.weight")]
    assert 0 < len(weights) < sum(name.endswith("0.weight") for name in params)
    for name in weights:
        np.testing.assert_array_equal(found[name], params[name])
    # What is handed over is the same again for the next architecture, so the two have the same score.
    again = make(model_class, **SEARCH)
    again.train(digits[1], shared_params=params)
    assert again.evaluate(digits[2]) == model.evaluate(digits[2])


def test_policies_that_are_off_change_nothing(digits: tuple[str, ...], model_class: Any) -> None:
    teacher = make(model_class, **TRAIN)
    teacher.train(digits[1])
    alone, handed = make(model_class, max_epochs=1), make(model_class, max_epochs=1)
    alone.train(digits[1])
    handed.train(digits[1], shared_params=shared(teacher))
    first, second = alone.dump_parameters(), handed.dump_parameters()
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_an_evaluation_without_shared_weights_learns_for_an_epoch_rather_than_judge_noise(
    digits: tuple[str, ...], model_class: Any
) -> None:
    model = make(model_class, **SEARCH)
    model.train(digits[1])
    assert model.dump_parameters()["n_epochs"] == 1


def test_smaller_networks_are_searched_with(digits: tuple[str, ...], model_class: Any) -> None:
    sizes = []
    for knobs in (SEARCH, {"max_epochs": 1}):
        model = make(model_class, **knobs)
        model.train(digits[1])
        sizes.append(sum(v.size for v in model.dump_parameters().values() if isinstance(v, np.ndarray)))
    assert sizes[0] < 0.7 * sizes[1]


def test_a_whole_search_ends_with_a_network_that_reads(digits: tuple[str, ...], model_class: Any) -> None:
    config, n, params = model_class.get_knob_config(), 16, None
    advisor = EnasAdvisor(SearchSetup(knob_config=config, seed=0, trial_limit=n))
    for no in range(1, n + 1):
        proposal = advisor.propose(no, Ask(worker_id="a", budget_used=(no - 1) / n))
        model = model_class(**check_knobs(config, proposal.knobs) | {"max_epochs": 10})
        model.train(digits[1], shared_params=params if proposal.start_from else None)
        score = model.evaluate(digits[2])
        advisor.feedback(no, score)
        if proposal.phase == "train":
            params = shared(model)
    assert proposal.phase == "full"
    assert score >= 0.9


class _Lost(Exception):
    """Ends a training in its middle, as the loss of its worker would."""


class _Keeper:
    """Takes the checkpoint of the second epoch, and ends the training then."""

    def __init__(self) -> None:
        self.kept: bytes | None = None

    def is_due(self) -> bool:
        return self.kept is None

    def save(self, params: Any, step: int) -> bool:
        if step == 2:
            self.kept = encode_params(params)
            raise _Lost
        return True

    def load(self) -> tuple[Any, int] | None:
        return None if self.kept is None else (decode_params(self.kept), 2)


def test_a_training_that_goes_on_from_a_checkpoint_ends_as_one_that_was_never_interrupted(
    model_class: Any, digits: tuple[str, ...]
) -> None:
    from rafiki.model.utils import checkpoint

    whole, first, second = (make(model_class, max_epochs=3) for _ in range(3))
    whole.train(digits[1])
    checkpoint.set_keeper(_Keeper())
    try:
        with pytest.raises(_Lost):
            first.train(digits[1])
        second.train(digits[1])
    finally:
        checkpoint.set_keeper(None)
    wanted, found = whole.dump_parameters(), second.dump_parameters()
    assert wanted["n_epochs"] == found["n_epochs"] == 3
    for key, value in wanted.items():
        np.testing.assert_array_equal(np.asarray(found[key]), np.asarray(value), err_msg=key)

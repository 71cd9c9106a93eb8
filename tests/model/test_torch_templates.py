"""The bundled torch templates, on real data. Needs torch: skips on a laptop without it, fails in CI.

How well the networks of sentences and of sounds do on all of their data is tested where they are also served, in
tests/acceptance/test_tasks.py: a little of it shows here that they learn, and what they answer.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.data.dataset_loaders import load_loader
from support.data.image_parts import part_of_classes
from support.data.spoken_digits import write_few
from support.data.task_files import real_data, wav

from rafiki.model.knobs import check_knobs, from_knob_specs
from rafiki.model.loader import load_model_class_from_path
from rafiki.model_check.knob_reader import read_knob_config
from rafiki.param_store.codec import decode_params, encode_params
from rafiki.tasks.registry import get_task

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TEMPLATES = Path(__file__).parents[2] / "templates" / "models"
FEED_FORWARD = {
    "hidden_layers": 2,
    "hidden_units": 128,
    "dropout": 0.2,
    "learning_rate": 3e-3,
    "batch_size": 32,
    "max_epochs": 40,
    "max_image_size": 32,
    "early_stop": False,
}
CNN = {
    "blocks": 3,
    "channels": 32,
    "dropout": 0.2,
    "learning_rate": 3e-3,
    "weight_decay": 0.01,
    "max_epochs": 15,
    "max_image_size": 64,
    "share_params": False,
}
BILSTM = {
    "word_size": 64,
    "letter_size": 16,
    "letter_filters": 64,
    "hidden_size": 64,
    "dropout": 0.33,
    "word_dropout": 0.3,
    "learning_rate": 0.01,
    "batch_size": 16,
    "max_epochs": 6,
    "early_stop": False,
}
CTC = {
    "filters": 64,
    "hidden_size": 128,
    "layers": 1,
    "dropout": 0.2,
    "learning_rate": 4e-3,
    "batch_size": 16,
    "max_epochs": 8,
    "known_words_only": True,
}
TEMPLATE_OF = {
    "FeedForward": ("image_classification/feed_forward.py", "TorchFeedForward", FEED_FORWARD),
    "Cnn": ("image_classification/cnn.py", "TorchCnn", CNN),
    "BiLstm": ("pos_tagging/bilstm.py", "BiLstm", BILSTM),
    "Ctc": ("speech_recognition/ctc.py", "SpeechCtc", CTC),
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Paths of the train, validation and test datasets of handwritten digits."""
    return tuple(map(str, load_loader("load_digits").write_digits(tmp_path_factory.mktemp("digits"))))


def make(name: str, **knobs: Any) -> Any:
    file_name, class_name, defaults = TEMPLATE_OF[name]
    return load_model_class_from_path(TEMPLATES / file_name, class_name)(**defaults | knobs)


def served(model: Any, name: str, **knobs: Any) -> Any:
    """A second instance, with nothing but the parameters of the first, as they travel."""
    other = make(name, **knobs)
    other.load_parameters(decode_params(encode_params(model.dump_parameters())))
    return other


@pytest.mark.parametrize("name", TEMPLATE_OF)
def test_a_templates_knobs_are_read_and_take_the_values_used_here(name: str) -> None:
    file_name, class_name, knobs = TEMPLATE_OF[name]
    reading = read_knob_config((TEMPLATES / file_name).read_bytes(), class_name, file_name)
    assert reading.error is None
    config = from_knob_specs(reading.knob_config or {})
    # Fewer epochs than the template has are used here, to be done sooner.
    fixed = {"max_epochs": config["max_epochs"].value.value}  # type: ignore[attr-defined]
    assert check_knobs(config, knobs | fixed) == knobs | fixed


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        pytest.param("FeedForward", {}, id="feed-forward"),
        pytest.param("FeedForward", {"early_stop": True}, id="feed-forward stopped early"),
        pytest.param("Cnn", {}, id="cnn"),
    ],
)
def test_a_network_reads_handwritten_digits(digits: tuple[str, ...], name: str, knobs: dict[str, Any]) -> None:
    model = make(name, **knobs)
    model.train(digits[0])
    accuracy = model.evaluate(digits[2])
    print(f"{name} {knobs or ''}: accuracy {accuracy:.4f} on the test digits")
    assert accuracy >= 0.97

    rng = np.random.default_rng(0)
    queries = [rng.integers(0, 256, shape).astype(np.uint8) for shape in [(8, 8, 3), (32, 32, 3), (30, 17, 3), (8, 8)]]
    other = served(model, name, **knobs)
    predictions = other.predict(queries)
    assert predictions == model.predict(queries)
    for query, prediction in zip(queries, predictions, strict=True):
        assert len(prediction) == 10
        assert sum(prediction) == pytest.approx(1)
        assert other.predict([query])[0] == pytest.approx(prediction, abs=1e-4)


@pytest.mark.parametrize("name", ["FeedForward", "Cnn"])
def test_a_part_that_lacks_classes_gives_a_probability_for_each_up_to_the_highest(
    digits: tuple[str, ...], tmp_path: Path, name: str
) -> None:
    model = make(name, max_epochs=4)
    model.train(str(part_of_classes(digits[0], tmp_path / "train.zip", {1, 3, 7})))
    val = part_of_classes(digits[1], tmp_path / "val.zip", {3, 8})
    # Of one half the class is not to be known.
    assert 0.3 < model.evaluate(str(val)) < 0.7
    assert {len(p) for p in served(model, name).predict([np.zeros((8, 8, 3), np.uint8)])} == {8}


def test_training_again_gives_the_same_network(digits: tuple[str, ...]) -> None:
    models = [make("FeedForward", max_epochs=1), make("FeedForward", max_epochs=1)]
    for model in models:
        model.train(digits[1])
    first, second = (model.dump_parameters() for model in models)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_an_early_stop_trains_for_fewer_epochs(
    digits: tuple[str, ...], epochs_of: Callable[[Any, str], list[float]]
) -> None:
    # A high learning rate gets no better soon.
    knobs = {"learning_rate": 1e-2, "hidden_units": 512, "max_epochs": 40}
    stopped = epochs_of(make("FeedForward", early_stop=True, **knobs), digits[1])
    assert len(stopped) < 40
    assert len(epochs_of(make("FeedForward", early_stop=False, **knobs), digits[1])) == 40


def test_shared_parameters_give_a_trial_a_head_start(
    digits: tuple[str, ...], epochs_of: Callable[[Any, str], list[float]]
) -> None:
    knobs = {"max_epochs": 4, "blocks": 2, "channels": 16}
    teacher = make("Cnn", **knobs)
    afresh = epochs_of(teacher, digits[0])
    shared = decode_params(encode_params(teacher.dump_parameters()))

    def losses(**changes: Any) -> list[float]:
        return epochs_of(make("Cnn", **knobs | changes), digits[0], shared)  # type: ignore[call-arg]

    assert losses(share_params=True)[0] < afresh[-1] < afresh[0]
    # Off is off.
    assert losses(share_params=False)[0] == pytest.approx(afresh[0], rel=1e-3)
    # More blocks: two start from what was learned, the third afresh. Other widths: hardly anything fits.
    for changes in ({"blocks": 3}, {"channels": 32}):
        assert len(losses(share_params=True, **changes)) == 4


@pytest.fixture
def epochs_of() -> Iterator[Callable[..., list[float]]]:
    """Trains a model; returns the loss of each epoch."""
    from rafiki.model import logger

    def train(model: Any, path: str, shared_params: Any = None) -> list[float]:
        losses: list[float] = []
        logger.set_sink(lambda entry: losses.append(entry["metrics"]["loss"]) if "loss" in _metrics(entry) else None)
        model.train(path, shared_params=shared_params)
        return losses

    yield train
    logger.set_sink(None)


def _metrics(entry: dict[str, Any]) -> Any:
    return entry["metrics"] if entry["type"] == "METRICS" else {}


def _first_sentences(name: str, n: int, folder: Path) -> str:
    file = folder / name
    file.write_text("\n\n".join(real_data(name).read_text(encoding="utf-8").split("\n\n")[:n]) + "\n\n", "utf-8")
    return str(file)


def test_the_bilstm_tags_english(tmp_path: Path) -> None:
    few = [_first_sentences(name, n, tmp_path) for name, n in (("ud_ewt_train_4000.tsv", 800), ("ud_ewt_dev.tsv", 300))]
    train, val = load_loader("conll").main([few[0], "--val", few[1], "--out", str(tmp_path / "made"), "--quiet"])
    model = make("BiLstm", max_epochs=3)
    model.train(str(train))
    accuracy = model.evaluate(str(val))
    print(f"BiLstm: accuracy {accuracy:.4f} on development sentences of UD English EWT")
    # The most frequent tag alone is right for a fifth.
    assert accuracy >= 0.65

    queries = [["the", "dog", "barks", "."], ["Xylographically", "ψ" * 40], ["."]]
    other = served(model, "BiLstm")
    assert other.predict(queries) == model.predict(queries)
    assert [len(tags) for tags in other.predict(queries)] == [4, 2, 1]
    assert other.predict(queries[1:2]) == other.predict(queries)[1:2]
    for tags in other.predict(queries):
        get_task("POS_TAGGING").encode_prediction(tags)


def test_the_bilstm_stops_early_and_keeps_its_best(tmp_path: Path) -> None:
    corpus = tmp_path / "small.tsv"
    corpus.write_text("the\tDET\ndog\tNOUN\nbarks\tVERB\n\n" * 40)
    train, val = load_loader("conll").main([str(corpus), "--split", "80,20,0", "--out", str(tmp_path), "--quiet"])
    model = make("BiLstm", early_stop=True, max_epochs=10)
    model.train(str(train))
    assert model.evaluate(str(val)) == 1
    assert model.predict([["the", "dog", "barks"]]) == [[0, 1, 2]]


def test_the_ctc_network_spells_spoken_digits_that_were_held_out(tmp_path: Path) -> None:
    test, train = sorted(
        load_loader("wav_folder").main(
            [str(write_few(tmp_path, 15)), "--test-takes", "3", "--out", str(tmp_path / "made"), "--quiet"]
        )
    )
    model = make("Ctc", filters=48, hidden_size=64, batch_size=8, max_epochs=6)
    model.train(str(train))
    word_error_rate = 1 - model.evaluate(str(test))
    print(f"SpeechCtc: word error rate {word_error_rate:.4f} on the 120 recordings held out")
    # Who hears nothing errs in every word.
    assert word_error_rate <= 0.9

    # Recordings of other rates, widths and numbers of channels are understood, and one of no time at all.
    queries = [
        base64.b64encode(wav(n, rate=rate, bits=bits, channels=channels)).decode()
        for n, rate, bits, channels in [
            (8000, 16_000, 16, 1),
            (4000, 8_000, 8, 2),
            (22_050, 44_100, 24, 1),
            (0, 16_000, 16, 1),
        ]
    ]
    other = served(model, "Ctc", filters=48, hidden_size=64, batch_size=8, max_epochs=6)
    texts = other.predict(queries)
    assert texts == model.predict(queries)
    assert all(isinstance(text, str) for text in texts)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([], ""),
        ([0, 0], ""),
        ([22, 22, 0, 23, 23, 0, 16], "tun"),
        ([21, 0, 7, 7, 0, 7], "see"),
        ([1, 3, 0, 1, 1, 0, 1, 4, 1], "a b"),
    ],
)
def test_repeated_steps_are_one_letter_unless_a_blank_stands_between(steps: list[int], text: str) -> None:
    assert module_of(make("Ctc")).spell(steps) == text


@pytest.mark.parametrize(
    ("found", "wanted", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("abc", "", 3), (["to", "be"], ["to", "see", "be"], 1)],
)
def test_the_edit_distance_counts_what_must_change(found: Any, wanted: Any, distance: int) -> None:
    assert module_of(make("Ctc")).edit_distance(found, wanted) == distance


def module_of(model: Any) -> Any:
    import sys

    return sys.modules[type(model).__module__]


def _small_dataset(name: str, folder: Path) -> str:
    if name == "Ctc":
        zipped = str(real_data("fsdd_4_speakers.zip"))
        paths = load_loader("wav_folder").main([zipped, "--test-takes", "5", "--out", str(folder), "--quiet"])
        return str(min(paths))
    corpus = folder / "small.tsv"
    sentences = ["the\tDET\ndog\tNOUN\nbarks\tVERB\n\n", "a\tDET\ncat\tNOUN\nsees\tVERB\nit\tPRON\n\n"]
    corpus.write_text("".join(sentences[i % 3 % 2] for i in range(120)))
    paths = load_loader("conll").main([str(corpus), "--split", "80,20,0", "--out", str(folder), "--quiet"])
    return str(paths[0])


class _Interrupted(Exception):
    """Ends a training in its middle, as the loss of its worker would."""


class _Keeper:
    """Takes a checkpoint of one epoch, and ends the training then."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.kept: bytes | None = None

    def is_due(self) -> bool:
        return self.kept is None and self.at is not None

    def save(self, params: Any, step: int) -> bool:
        if step == self.at:
            self.kept = encode_params(params)
            raise _Interrupted
        return True

    def load(self) -> tuple[Any, int] | None:
        return None if self.kept is None else (decode_params(self.kept), self.at or 0)


@pytest.mark.parametrize("name", ["FeedForward", "Cnn", "BiLstm", "Ctc"])
def test_a_training_that_goes_on_from_a_checkpoint_ends_as_one_that_was_never_interrupted(
    name: str, digits: tuple[str, ...], tmp_path: Path
) -> None:
    from rafiki.model.utils import checkpoint

    knobs: dict[str, Any] = {"max_epochs": 4}
    if name in ("FeedForward", "BiLstm"):
        knobs["early_stop"] = True
    whole, first, second = (make(name, **knobs) for _ in range(3))
    path = digits[1] if name in ("FeedForward", "Cnn") else _small_dataset(name, tmp_path)
    whole.train(path)
    keeper = _Keeper(at=2)
    checkpoint.set_keeper(keeper)
    try:
        with pytest.raises(_Interrupted):
            first.train(path)
        second.train(path)
    finally:
        checkpoint.set_keeper(None)
    wanted, found = whole.dump_parameters(), second.dump_parameters()
    assert wanted.keys() == found.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(np.asarray(found[key]), np.asarray(value), err_msg=key)

"""``test_model_class``: a model's whole life on this machine, without a stack. For model files' ``__main__``.

It does what a train job and an inference job would: knobs from the same advisor, parameters through the same format,
queries and predictions through the task's own checks; so a model that passes here runs there. ``rafiki model test`` and
:func:`rafiki.model_check.checkup.check_model` do the same and look closer.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rafiki.budget import TrainBudget, explain_unknown, parse_train_budget
from rafiki.constants import BudgetOption
from rafiki.errors import InvalidTrainJobError
from rafiki.knob_specs import Knobs
from rafiki.model.base import BaseModel
from rafiki.model.install_command import parse_model_install_command
from rafiki.model.knobs import KnobConfig
from rafiki.model.loader import load_model_class_from_path
from rafiki.model_check import trial_steps
from rafiki.tasks.registry import get_task
from rafiki.utils.values import JsonObject, JsonValue


def test_model_class(
    model_file_path: str | Path,
    model_class: str,
    task: str,
    dependencies: Mapping[str, str],
    train_dataset_path: str | Path,
    val_dataset_path: str | Path,
    test_dataset_path: str | Path | None = None,
    budget: Mapping[str, object] | None = None,
    train_args: Mapping[str, JsonValue] | None = None,
    queries: Sequence[object] | None = None,
) -> tuple[list[JsonValue], BaseModel]:
    """Train, tune and serve one model here, and say how it goes.

    Options of the command line go first: ``--TIME_HOURS``, ``--GPU_COUNT`` and ``--MODEL_TRIAL_COUNT`` for the budget,
    and ``--<knob>=<value>``, which fixes a knob.

    Args:
        model_file_path: the model's file.
        model_class: the class in it.
        task: its task; datasets, queries and predictions are checked by its rules.
        dependencies: PyPI names and versions, as at an upload. Of those that are not installed here it warns, with the
            command that installs them, and goes on.
        train_dataset_path, val_dataset_path: what ``train`` and ``evaluate`` get.
        test_dataset_path: what the best model is evaluated on at the end.
        budget: as of a train job.
        train_args: further arguments of ``train``.
        queries: what the best model is asked at the end, as clients would send it (JSON values, or numpy arrays).

    Returns:
        The predictions (decoded JSON) for ``queries``, and the best model with its parameters loaded.

    Raises:
        ModelError: when the model's code fails, naming the method and the line.
        InvalidModelError: when the dependencies are none.
        InvalidTrainJobError, InvalidDatasetError, InvalidQueryError: when an argument is wrong.
    """
    if lacking := trial_steps.missing_dependencies(dependencies):
        command = parse_model_install_command(dict(lacking))
        _warn(f"Not installed here in the version that the model names: {', '.join(lacking)}. Install with: {command}")
    for warning in explain_unknown(budget, BudgetOption):
        _warn(warning)
    rules = get_task(task)
    for warning in trial_steps.check_datasets(rules, (train_dataset_path, val_dataset_path, test_dataset_path)):
        _warn(warning)
    found = load_model_class_from_path(model_file_path, model_class)
    file_name = Path(model_file_path).name
    options = _options(sys.argv[1:])
    limits = parse_train_budget({**(budget or {}), **_budget_options(options)})
    knob_config, constraints = trial_steps.read_knobs(found, file_name)
    knob_config = trial_steps.fix_knobs(knob_config, {n: t for n, t in options.items() if n in knob_config})

    paths = (str(train_dataset_path), str(val_dataset_path))
    knobs, params = _search(found, file_name, knob_config, constraints, limits, paths, dict(train_args or {}))
    model = trial_steps.create(found, knobs, file_name)
    # Through the format in which they are stored: what does not survive it would not be served.
    trial_steps.load(model, params, file_name)
    if test_dataset_path is not None:
        _say(f"Score on the test dataset: {trial_steps.evaluate(model, str(test_dataset_path), file_name):g}")
    decoded = trial_steps.decode_queries(queries or [], rules)
    predictions = trial_steps.predict(model, decoded, rules, file_name)
    for prediction in predictions:
        _say(f"Prediction: {str(prediction)[:200]}")
    return predictions, model


# Test runners must not take the function itself for a test.
test_model_class.__test__ = False  # type: ignore[attr-defined]


def _search(
    model_class: type[BaseModel],
    file_name: str,
    knob_config: KnobConfig,
    constraints: tuple[str, ...],
    limits: TrainBudget,
    paths: tuple[str, str],
    train_args: JsonObject,
) -> tuple[Knobs, bytes]:
    """The knobs and the stored parameters of the best trial."""

    def run_trial(no: int, knobs: Knobs) -> tuple[float, bytes]:
        _say(f"Trial {no}: {', '.join(f'{k}={v!r}' for k, v in knobs.items())}")
        model = trial_steps.create(model_class, knobs, file_name)
        with contextlib.ExitStack() as stack:
            stack.callback(trial_steps.destroy, model, file_name)
            trial_steps.train(model, paths[0], train_args, file_name)
            score = trial_steps.evaluate(model, paths[1], file_name)
            return score, trial_steps.dump(model, file_name)[1]

    best: tuple[float, Knobs, bytes] | None = None
    for no, knobs, score, params in trial_steps.search(knob_config, constraints, limits, run_trial):
        _say(f"Trial {no}: score {score:g}")
        if best is None or score > best[0]:
            best = (score, knobs, params)
    if best is None:
        raise InvalidTrainJobError("The budget allows no trial.")
    _say(f"Best score: {best[0]:g}")
    return best[1], best[2]


def _options(arguments: Sequence[str]) -> dict[str, str]:
    """``--NAME=value`` and ``--NAME value``; anything else is the model file's own business."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            continue
        name, is_joined, value = argument[2:].partition("=")
        if is_joined:
            found[name] = value
        elif rest and not rest[0].startswith("--"):
            found[name] = rest.pop(0)
    return found


def _budget_options(options: Mapping[str, str]) -> JsonObject:
    return {name: trial_steps.parse_value(text) for name, text in options.items() if name in list(BudgetOption)}


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
    sys.stderr.flush()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

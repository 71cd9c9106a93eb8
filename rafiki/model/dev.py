"""``test_model_class``: a model's whole life on this machine, without a stack. For model files' ``__main__``.

It does what a train job and an inference job would: knobs from the same advisor, parameters through the same format,
queries and predictions through the task's own checks; so a model that passes here runs there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rafiki.advisor.budget import TrainBudget, TrialQuota, parse_train_budget
from rafiki.advisor.schemes import make_advisor
from rafiki.constants import BudgetOption
from rafiki.environments.requirements import lines_of, missing, parse_dependencies
from rafiki.errors import InvalidModelError, InvalidTrainJobError, ModelError
from rafiki.model.base import BaseModel
from rafiki.model.knobs import (
    BaseKnob,
    CategoricalKnob,
    FixedKnob,
    KnobConfig,
    Knobs,
    PolicyKnob,
    knob_config_from_json,
    knob_config_to_json,
)
from rafiki.model.loader import load_model_class_from_path, user_traceback
from rafiki.param_store.codec import decode_params, encode_params
from rafiki.tasks.registry import get_task
from rafiki.utils.clock import utc_now

_SEED = 0


def test_model_class(
    model_file_path: str | Path,
    model_class: str,
    task: str,
    dependencies: Mapping[str, str],
    train_dataset_path: str | Path,
    val_dataset_path: str | Path,
    test_dataset_path: str | Path | None = None,
    budget: Mapping[str, Any] | None = None,
    train_args: Mapping[str, Any] | None = None,
    queries: Sequence[Any] | None = None,
) -> tuple[list[Any], BaseModel]:
    """Train, tune and serve one model here, and say how it goes.

    Options of the command line go first: ``--TIME_HOURS``, ``--GPU_COUNT`` and ``--MODEL_TRIAL_COUNT`` for the budget,
    and ``--<knob>=<value>``, which fixes a knob.

    Args:
        model_file_path: the model's file.
        model_class: the class in it.
        task: its task; datasets, queries and predictions are checked by its rules.
        dependencies: PyPI names and versions, as at an upload. They have to be installed here already.
        train_dataset_path, val_dataset_path: what ``train`` and ``evaluate`` get.
        test_dataset_path: what the best model is evaluated on at the end.
        budget: as of a train job.
        train_args: further arguments of ``train``.
        queries: what the best model is asked at the end, as clients would send it (JSON values, or numpy arrays).

    Returns:
        The predictions (decoded JSON) for ``queries``, and the best model with its parameters loaded.

    Raises:
        ModelError: when the model's code fails, naming the method and the line.
        InvalidModelError: when the dependencies are none, or not installed here.
        InvalidTrainJobError, InvalidDatasetError, InvalidQueryError: when an argument is wrong.
    """
    _check_dependencies(dependencies)
    rules = get_task(task)
    for path in (train_dataset_path, val_dataset_path, test_dataset_path):
        if path is not None:
            rules.validate_dataset(Path(path))
    found = load_model_class_from_path(model_file_path, model_class)
    file_name = Path(model_file_path).name
    options = _options(sys.argv[1:])
    limits = parse_train_budget({**(budget or {}), **_budget_options(options)})
    knob_config = _fix_knobs(_read_knobs(found, file_name), options)

    knobs, params = _search(
        found, file_name, knob_config, limits, (str(train_dataset_path), str(val_dataset_path)), dict(train_args or {})
    )
    try:
        model = found(**knobs)
        # Through the format in which they are stored: what does not survive it would not be served.
        model.load_parameters(decode_params(params))
        if test_dataset_path is not None:
            _say(f"Score on the test dataset: {float(model.evaluate(str(test_dataset_path))):g}")
        decoded = [rules.decode_query(_as_json(query)) for query in queries or []]
        answers = list(model.predict(decoded)) if decoded else []
    except (Exception, SystemExit) as e:
        raise _failure("Serving the best model", e, file_name) from e
    if len(answers) != len(decoded):
        raise ModelError(f"predict() returned {len(answers)} predictions for {len(decoded)} queries.")
    predictions = [msgspec.json.decode(rules.encode_prediction(answer)) for answer in answers]
    for prediction in predictions:
        _say(f"Prediction: {str(prediction)[:200]}")
    return predictions, model


# Test runners must not take the function itself for a test.
test_model_class.__test__ = False  # type: ignore[attr-defined]


def _check_dependencies(dependencies: Mapping[str, str]) -> None:
    if lacking := lines_of(missing(parse_dependencies(dependencies))):
        # Quoted for a shell: `<` and `>` are redirections there.
        command = " ".join(f"'{line}'" for line in lacking)
        raise InvalidModelError(f"Not installed here: {', '.join(lacking)}. Install it first: pip install {command}")


def _search(
    model_class: type[BaseModel],
    file_name: str,
    knob_config: KnobConfig,
    limits: TrainBudget,
    paths: tuple[str, str],
    train_args: dict[str, Any],
) -> tuple[Knobs, bytes]:
    """The knobs and the encoded parameters of the best trial."""
    advisor = make_advisor(
        knob_config, limits, _SEED, constraints=tuple(model_class.get_knob_constraints()), n_workers=1
    )
    quota = TrialQuota(limits.model_trial_count, advisor.max_trials)
    started = utc_now()
    best: tuple[float, Knobs, bytes] | None = None
    no = 1
    while quota.may_start(no) and (no == 1 or not limits.is_time_over(started, utc_now())):
        knobs = advisor.propose(no).knobs
        _say(f"Trial {no}: {', '.join(f'{k}={v!r}' for k, v in knobs.items())}")
        score, params = _run_trial(model_class, file_name, knobs, paths, train_args)
        advisor.feedback(no, score)
        _say(f"Trial {no}: score {score:g}")
        if best is None or score > best[0]:
            best = (score, knobs, params)
        no += 1
    if best is None:
        raise InvalidTrainJobError("The budget allows no trial.")
    _say(f"Best score: {best[0]:g}")
    return best[1], best[2]


def _run_trial(
    model_class: type[BaseModel], file_name: str, knobs: Knobs, paths: tuple[str, str], train_args: dict[str, Any]
) -> tuple[float, bytes]:
    try:
        model = model_class(**knobs)
        try:
            model.train(paths[0], **train_args)
            score = float(model.evaluate(paths[1]))
            return score, encode_params(model.dump_parameters())
        finally:
            model.destroy()
    except (Exception, SystemExit) as e:
        raise _failure("The trial", e, file_name) from e


def _read_knobs(model_class: type[BaseModel], file_name: str) -> KnobConfig:
    try:
        # There and back: a job gets them as JSON.
        return knob_config_from_json(knob_config_to_json(model_class.get_knob_config()))
    except (Exception, SystemExit) as e:
        raise _failure("get_knob_config()", e, file_name) from e


def _failure(what: str, e: BaseException, file_name: str) -> ModelError:
    return ModelError(f"{what} failed: {user_traceback(e, file_name)}")


def _as_json(query: Any) -> bytes:
    try:
        return msgspec.json.encode(query, enc_hook=lambda value: value.tolist())
    except (TypeError, AttributeError) as e:
        raise ModelError(f"A query must be JSON values or arrays, not {query!r:.80}.") from e


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


def _value(text: str) -> Any:
    """A number, a bool or a list where the text is one in JSON; else the text."""
    try:
        return msgspec.json.decode({"True": "true", "False": "false"}.get(text, text))
    except msgspec.DecodeError:
        return text


def _budget_options(options: Mapping[str, str]) -> dict[str, Any]:
    return {name: _value(text) for name, text in options.items() if name in list(BudgetOption)}


def _fix_knobs(knob_config: KnobConfig, options: Mapping[str, str]) -> KnobConfig:
    """The configuration with the knobs fixed that the command line names."""
    fixed: dict[str, BaseKnob] = {}
    for name, text in options.items():
        if (knob := knob_config.get(name)) is None:
            continue
        value: Any = _value(text)
        if isinstance(knob, (CategoricalKnob, FixedKnob)) and knob.value_type is str:
            value = text
        if isinstance(knob, PolicyKnob):
            # The advisor alone turns policies on; a fixed value takes the place of the knob.
            fixed[name] = FixedKnob(bool(value))
            continue
        checked = value if isinstance(knob, FixedKnob) else knob.check(value)
        if isinstance(checked, list):
            raise ModelError(f"--{name}: an architecture cannot be fixed from the command line.")
        fixed[name] = FixedKnob(checked)
    return {**knob_config, **fixed}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

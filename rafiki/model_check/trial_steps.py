"""The steps of a trial on one machine: each calls one method of the model, and turns its failure into a sentence.

:mod:`rafiki.model.dev` and :mod:`rafiki.model_check.checkup` put them together.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard, TypeVar

import msgspec

from rafiki.advisor.schemes import make_advisor
from rafiki.budget import TrainBudget, TrialQuota
from rafiki.environments.requirements import lines_of, missing, parse_dependencies
from rafiki.errors import InvalidModelError, ModelError, ModelPredictError, RafikiError
from rafiki.knob_specs import Knobs
from rafiki.model.base import BaseModel, Params
from rafiki.model.constraints import parse_constraints
from rafiki.model.knobs import (
    BaseKnob,
    CategoricalKnob,
    FixedKnob,
    KnobConfig,
    PolicyKnob,
    from_knob_specs,
    to_knob_specs,
)
from rafiki.model.loader import UserFrame, user_frames, user_traceback
from rafiki.model.predictions import HINT, listed_predictions
from rafiki.model.score import checked_score
from rafiki.param_store.codec import decode_params, encode_params
from rafiki.tasks.base import TaskSpec
from rafiki.utils.clock import utc_now
from rafiki.utils.values import JsonValue

SEED = 0
_YEAR_HOURS = 365 * 24.0
T = TypeVar("T")


class MethodFailedError(ModelError):
    """A method of the model failed."""

    method: str = ""
    reason: str = ""
    advice: str = ""
    """What to do about it; empty where only the author can know."""
    frames: Sequence[UserFrame] = ()
    """The way through the model's own file to where it failed."""

    @classmethod
    def of(cls, method: str, reason: str, advice: str = "", frames: Sequence[UserFrame] = ()) -> MethodFailedError:
        """That ``method`` failed, and why."""
        made = cls(f"{method} failed: {reason}")
        made.method, made.reason, made.advice, made.frames = method, reason, advice, frames
        return made


class UnknownKnobError(ModelError):
    """The model has no such knob, or the knob cannot take that value."""


@contextlib.contextmanager
def calling(method: str, file_name: str, advice: str = "") -> Iterator[None]:
    """Whatever model code raises inside becomes a MethodFailedError that names the method and the line.

    Raises:
        MethodFailedError: as said.
    """
    try:
        yield
    except MethodFailedError:
        raise
    except (Exception, SystemExit) as e:  # model code may raise anything
        if isinstance(e, ModuleNotFoundError) and not advice:
            package = (e.name or "").partition(".")[0]
            advice = f"Install {package!r} here, and add it to the model's dependencies."
        raise MethodFailedError.of(method, user_traceback(e, file_name), advice, user_frames(e, file_name)) from e


def check_dependencies(dependencies: Mapping[str, str]) -> None:
    """Check that this Python has what a model depends on.

    Raises:
        InvalidModelError: when the dependencies are none, or not installed here.
    """
    if lacking := lines_of(missing(parse_dependencies(dependencies))):
        # Quoted for a shell: `<` and `>` are redirections there.
        command = " ".join(f"'{line}'" for line in lacking)
        raise InvalidModelError(f"Not installed here: {', '.join(lacking)}. Install it first: pip install {command}")


def missing_dependencies(dependencies: Mapping[str, str]) -> dict[str, str]:
    """Those of a model's dependencies that this Python does not have, or not in the version that the model names.

    Raises:
        InvalidModelError: when the dependencies are none.
    """
    return {name: version for name, version in dependencies.items() if missing(parse_dependencies({name: version}))}


def read_knobs(model_class: type[BaseModel], file_name: str) -> tuple[KnobConfig, tuple[str, ...]]:
    """The knobs of a model and the constraints between them, there and back through the JSON in which a job gets them.

    Raises:
        MethodFailedError: when they cannot be read.
    """
    with calling("get_knob_config()", file_name):
        knobs = from_knob_specs(to_knob_specs(model_class.get_knob_config()))
    with calling("get_knob_constraints()", file_name):
        constraints = tuple(model_class.get_knob_constraints())
        parse_constraints(constraints, knobs)
    return knobs, constraints


def parse_value(text: str) -> JsonValue:
    """A number, a bool or a list where the text is one in JSON; else the text."""
    try:
        value: JsonValue = msgspec.json.decode({"True": "true", "False": "false"}.get(text, text))
        return value
    except msgspec.DecodeError:
        return text


def fix_knobs(knob_config: KnobConfig, texts: Mapping[str, str]) -> KnobConfig:
    """The configuration with the knobs fixed that ``texts`` names.

    Raises:
        UnknownKnobError: when there is no such knob.
        ModelError: when a knob cannot take its value.
    """
    fixed: dict[str, BaseKnob] = {}
    for name, text in texts.items():
        if (knob := knob_config.get(name)) is None:
            raise UnknownKnobError(f"The model has no knob {name!r}; it has {', '.join(knob_config) or 'none'}.")
        value = parse_value(text)
        if isinstance(knob, (CategoricalKnob, FixedKnob)) and knob.value_type is str:
            value = text
        if isinstance(knob, PolicyKnob):
            # The advisor alone turns policies on; a fixed value takes the place of the knob.
            fixed[name] = FixedKnob(bool(value))
            continue
        try:
            checked = value if isinstance(knob, FixedKnob) else knob.check(value)
        except ModelError as e:
            raise UnknownKnobError(f"The knob {name!r} cannot be {text}: {e.message}") from e
        if isinstance(checked, list):
            raise UnknownKnobError(f"--{name}: an architecture cannot be fixed from the command line.")
        fixed[name] = FixedKnob(checked)
    return {**knob_config, **fixed}


def budget_of(trials: int) -> TrainBudget:
    """As many trials, however long they take."""
    return TrainBudget(model_trial_count=trials, time_hours=_YEAR_HOURS)


def search(
    knob_config: KnobConfig,
    constraints: tuple[str, ...],
    limits: TrainBudget,
    run_trial: Callable[[int, Knobs], tuple[float, T]],
) -> Iterator[tuple[int, Knobs, float, T]]:
    """Trials as a train job with one worker would run them, until the budget or the scheme ends it.

    Args:
        run_trial: takes the trial's number and knobs; returns its score and anything else.

    Yields:
        Each trial when it has ended: its number and knobs, and what ``run_trial`` returned.

    Raises:
        InvalidTrainJobError, ModelError: as :func:`~rafiki.advisor.schemes.make_advisor` does.
    """
    advisor = make_advisor(knob_config, limits, SEED, constraints=constraints, n_workers=1)
    quota = TrialQuota(limits.model_trial_count, advisor.max_trials)
    started = utc_now()
    no = 1
    while quota.may_start(no) and (no == 1 or not limits.is_time_over(started, utc_now())):
        knobs = advisor.propose(no).knobs
        score, rest = run_trial(no, knobs)
        advisor.feedback(no, score)
        yield no, knobs, score, rest
        no += 1


# ---- the methods of one trial --------------------------------------------------------------------------------------


def create(model_class: type[BaseModel], knobs: Knobs, file_name: str) -> BaseModel:
    """An instance with these knobs. Raises MethodFailedError, as all of these steps do."""
    with calling("__init__()", file_name):
        return model_class(**knobs)


def train(
    model: BaseModel,
    path: str,
    train_args: Mapping[str, JsonValue],
    file_name: str,
    shared_params: Params | None = None,
) -> None:
    """Train it, from shared parameters where there are some."""
    arguments: dict[str, object] = {**({} if shared_params is None else {"shared_params": shared_params}), **train_args}
    call: Callable[..., None] = model.train  # type: ignore[explicit-any]
    with calling("train()", file_name):
        call(path, **arguments)


def evaluate(model: BaseModel, path: str, file_name: str) -> float:
    """Its score."""
    with calling("evaluate()", file_name):
        score = model.evaluate(path)
    try:
        return checked_score(score)
    except RafikiError as e:
        raise MethodFailedError.of(
            "evaluate()", e.message, "Return one finite number, higher for a better model, such as the accuracy."
        ) from e


def dump(model: BaseModel, file_name: str) -> tuple[Params, bytes]:
    """Its parameters, and the bytes in which they are stored."""
    with calling("dump_parameters()", file_name):
        params = model.dump_parameters()
    with calling("dump_parameters()", file_name, "Return a dict of numbers, texts, lists, dicts and numpy arrays."):
        return params, encode_params(params)


def load(model: BaseModel, stored: bytes, file_name: str) -> None:
    """Give it stored parameters."""
    with calling("load_parameters()", file_name):
        model.load_parameters(decode_params(stored))


def predict(model: BaseModel, queries: Sequence[object], rules: TaskSpec, file_name: str) -> list[JsonValue]:
    """Its predictions for queries as :meth:`TaskSpec.decode_query` returns them, as decoded JSON."""
    if not queries:
        return []
    with calling("predict()", file_name):
        returned = model.predict(list(queries))
        try:
            answers = listed_predictions(returned, len(queries))
        except ModelPredictError as e:
            raise MethodFailedError.of("predict()", e.message.removeprefix("predict() ").rstrip("."), HINT) from e
    found: list[JsonValue] = []
    for no, answer in enumerate(answers, 1):
        try:
            found.append(msgspec.json.decode(rules.encode_prediction(answer)))
        except ModelPredictError as e:
            raise MethodFailedError.of("predict()", f"query {no}: {e.message}") from e
    return found


def destroy(model: BaseModel, file_name: str) -> None:
    """Let it free what it holds."""
    with calling("destroy()", file_name):
        model.destroy()


def decode_queries(queries: Sequence[object], rules: TaskSpec) -> list[object]:
    """Queries as clients would send them (JSON values, or numpy arrays) as predict() gets them.

    Raises:
        ModelError: when one cannot be sent.
        InvalidQueryError: when the task does not take one.
    """
    return [rules.decode_query(_as_json(query)) for query in queries]


def _as_json(query: object) -> bytes:
    try:
        return msgspec.json.encode(query, enc_hook=lambda value: value.tolist())
    except (TypeError, AttributeError) as e:
        raise ModelError(f"A query must be JSON values or arrays, not {query!r:.80}.") from e


# ---- comparing -----------------------------------------------------------------------------------------------------

REL_TOLERANCE, ABS_TOLERANCE = 1e-4, 1e-5
"""How far numbers may lie apart that count as the same: single precision, summed up in another order."""


def find_difference(one: JsonValue, other: JsonValue, place: str = "") -> str | None:
    """Where and how two predictions (decoded JSON) differ; None when they are the same."""
    at = f" at {place}" if place else ""
    if _is_number(one) and _is_number(other):
        is_same = math.isclose(one, other, rel_tol=REL_TOLERANCE, abs_tol=ABS_TOLERANCE)
        return None if is_same else f"{one:.6g} and {other:.6g}{at}"
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{len(one)} and {len(other)} values{at}"
        pairs = [(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"the keys {sorted(one)} and {sorted(other)}{at}"
        pairs = [(one[key], other[key], f"{place}[{key!r}]") for key in one]
    else:
        return None if one == other else f"{str(one)[:60]!r} and {str(other)[:60]!r}{at}"
    return next((found for a, b, where in pairs if (found := find_difference(a, b, where)) is not None), None)


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_datasets(rules: TaskSpec, paths: Sequence[str | Path | None]) -> list[str]:
    """Check files against the dataset format of a task.

    Returns:
        What their owner should know of them all the same.

    Raises:
        InvalidDatasetError: says what is wrong with which.
    """
    warnings = []
    for path in [Path(p) for p in paths if p is not None]:
        rules.validate_dataset(path)
        warnings += [f"{path.name}: {told}" for told in rules.find_oddities(path)]
    return warnings

"""The check of a model as it travels between processes: what is asked for, and the events that tell how it goes.

The process of the check writes events as JSON, one a line; a view in another process follows. The first trial tells its
steps, the others only how they ended, unless one fails. The last event is :class:`CheckPassed` or :class:`CheckFailed`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from rafiki.utils.values import JsonObject, JsonValue


class CheckRequest(msgspec.Struct, kw_only=True):
    """What to check, and on what."""

    file: str
    model_class: str
    task: str
    train_path: str
    val_path: str
    queries: list[JsonValue] | None = None
    """JSON values as clients would send them; None = some are made from the validation dataset."""
    trials: int = 1
    knobs: dict[str, str] = {}
    """Knobs to fix: name -> value as text."""
    train_args: JsonObject = {}
    dependencies: dict[str, str] = {}


# ---- events: the kind of each travels as its ``event`` -----------------------------------------------------------


class StepBegun(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="step"):
    """A step begins."""

    name: str
    trial: int | None
    """None = before the first trial."""


class StepDone(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="done"):
    """A step has done well."""

    name: str
    trial: int | None
    time_s: float
    detail: str


class CheckWarning(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="warning"):
    """Something that people should look at, though the model passes."""

    name: str
    message: str


class TrialEnded(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="trial"):
    """A trial has ended."""

    no: int
    knobs: Mapping[str, object]
    score: float
    time_s: float


class FailedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of model code on the way to where it failed."""

    line: int
    function: str
    code: str


class CheckFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    """The model, or what it was to be checked with, is wrong: the last event."""

    name: str
    """The step."""
    method: str
    """Of the model; empty where none of them failed."""
    reason: str
    advice: str = ""
    """What to do about it; empty where only the author can know."""
    is_usage: bool = False
    """Whether an argument is wrong, and not the model."""
    frames: list[FailedLine] = []
    """The way through the model's own file, the deepest line last."""
    knobs: Mapping[str, object] | None = None
    """Of the trial."""


class CheckPassed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="passed"):
    """The model passes: the last event."""

    best: int
    """The number of the best trial."""


class ModelLogged(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="log"):
    """The model has logged something."""

    line: str


CheckEvent: TypeAlias = (
    StepBegun | StepDone | CheckWarning | TrialEnded | CheckFailed | CheckPassed | ModelLogged
)  # fmt: skip


def encode_event(event: CheckEvent) -> bytes:
    """An event as a line of JSON, without its end.

    Model code may put anything into it: what JSON has no form for travels as text, half a surrogate pair as a question
    mark, and a number that is none as NaN.
    """
    return json.dumps(event, default=_plain, ensure_ascii=False).encode(errors="replace")


def decode_event(line: bytes) -> CheckEvent:
    """The event in a line that :func:`encode_event` made."""
    # Not msgspec's own reader of JSON: it takes no NaN, which knobs may be.
    event: CheckEvent = msgspec.convert(json.loads(line), type=CheckEvent)
    return event


def _plain(value: object) -> object:
    if not isinstance(value, msgspec.Struct):
        return str(value)
    config = value.__struct_config__
    tag = {} if config.tag_field is None else {config.tag_field: config.tag}
    return {**tag, **msgspec.structs.asdict(value)}

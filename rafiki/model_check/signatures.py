"""Whether the methods of a model class can be called as Rafiki calls them, told before any of them runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import NamedTuple

from rafiki.model.base import BaseModel
from rafiki.model.knobs import KnobConfig, PolicyKnob
from rafiki.utils.values import JsonValue


class Problem(NamedTuple):
    """What is wrong with one method."""

    method: str
    """As ``train()``."""
    reason: str
    advice: str


class _Call(NamedTuple):
    """How a method is called."""

    method: str
    shown: str
    """The call, as people write it."""
    definition: str
    """A definition that it fits."""
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = {}
    is_static: bool = False


_STATIC_CALLS = (
    _Call("get_knob_config", "get_knob_config()", "@staticmethod\ndef get_knob_config():", is_static=True),
    _Call("get_knob_constraints", "get_knob_constraints()", "@staticmethod\ndef get_knob_constraints():",
          is_static=True),
    _Call("teardown", "teardown()", "@staticmethod\ndef teardown():", is_static=True),
)  # fmt: skip


def find_static_problem(model_class: type[BaseModel]) -> Problem | None:
    """What is wrong with the first of the methods that are called without an instance; None when all is well."""
    return _first(model_class, _STATIC_CALLS)


def find_problem(
    model_class: type[BaseModel], knob_config: KnobConfig, train_args: Mapping[str, JsonValue]
) -> Problem | None:
    """What is wrong with the first of the other methods; None when all is well.

    Args:
        knob_config: what get_knob_config() returned: ``__init__`` takes each knob, and a model that shares
            parameters takes those of other trials.
        train_args: further arguments of ``train``.
    """
    is_sharing = any(isinstance(k, PolicyKnob) and k.policy == "SHARE_PARAMS" for k in knob_config.values())
    more = {**({"shared_params": None} if is_sharing else {}), **train_args}
    given = "".join(f", {name}=..." for name in more)
    calls = (
        _Call("__init__", f"{model_class.__name__}({', '.join(f'{n}=...' for n in knob_config)})",
              "def __init__(self, **knobs):", (), knob_config),
        _Call("train", f"train(dataset_path{given})",
              "def train(self, dataset_path, shared_params=None, **train_args):", ("",), more),
        _Call("evaluate", "evaluate(dataset_path)", "def evaluate(self, dataset_path):", ("",)),
        _Call("predict", "predict(queries)", "def predict(self, queries):", ([],)),
        _Call("dump_parameters", "dump_parameters()", "def dump_parameters(self):"),
        _Call("load_parameters", "load_parameters(params)", "def load_parameters(self, params):", ({},)),
        _Call("destroy", "destroy()", "def destroy(self):"),
    )  # fmt: skip
    return _first(model_class, calls)


def _first(model_class: type[BaseModel], calls: tuple[_Call, ...]) -> Problem | None:
    for call in calls:
        if problem := _check(model_class, call):
            return problem
    return None


def _check(model_class: type[BaseModel], call: _Call) -> Problem | None:
    found = inspect.getattr_static(model_class, call.method)
    advice = f"Write it as `{call.definition.replace(chr(10), ' ')}`."
    needs_no_instance = isinstance(found, (staticmethod, classmethod))
    if call.is_static and not needs_no_instance:
        return Problem(f"{call.method}()", "it is called without an instance, and is no @staticmethod", advice)
    function = getattr(model_class, call.method)
    if not callable(function) or isinstance(found, property):
        return Problem(f"{call.method}()", f"it is of the type {type(found).__name__}, not a method", advice)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return Problem(f"{call.method}()", "it is `async`, and nothing awaits it", advice)
    if (reason := _why_not_callable(function, call, needs_no_instance)) is not None:
        return Problem(f"{call.method}()", f"it cannot be called as `{call.shown}`: {reason}", advice)
    return None


def _why_not_callable(function: object, call: _Call, needs_no_instance: bool) -> str | None:
    if not callable(function):
        return "it is not callable"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None  # Written in C: nobody can tell before it is called.
    me = () if needs_no_instance else (None,)
    try:
        signature.bind(*me, *call.args, **call.kwargs)
    except TypeError as e:
        return f"{e} (it is defined with {signature})"
    return None

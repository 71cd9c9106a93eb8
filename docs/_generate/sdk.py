"""The reference of what model files and client programs import, from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from docs._generate.fields import module_docs
from docs._generate.markdown import directive, from_docstring
from rafiki.model.dev import check_model


@dataclass(frozen=True)
class Name:
    """One public name as it is written in a program."""

    name: str
    value: Any


# ---- what there is


_TORCH = ("TorchTraining", "Best")


def model_names() -> dict[str, list[Name]]:
    """Heading -> the names of the model SDK below it."""
    import rafiki.model
    from rafiki.model import dataset, dev, torch_training
    from rafiki.model.checkpoint import checkpoint

    def of_model(names: list[str]) -> list[Name]:
        return [Name(f"rafiki.model.{name}", getattr(rafiki.model, name)) for name in names]

    names = list(rafiki.model.__all__)
    types = ["CategoricalValue", "KnobConfig", "Knobs", "Params"]
    knobs = [n for n in names if "Knob" in n and n not in types]
    helpers = [Name(f"rafiki.model.utils.dataset.{n}", getattr(dataset, n)) for n in dataset.__all__]
    logged = ("log", "define_plot", "define_loss_plot", "log_loss", "report_score")
    return {
        "The class": of_model(["BaseModel"]),
        "Knobs": of_model(sorted(knobs, key=lambda n: (n not in ("BaseKnob", "KnobValue"), n))),
        "Types": of_model(types),
        "Logging": [Name(f"rafiki.model.utils.logger.{n}", getattr(rafiki.model.logger, n)) for n in logged],
        "Checkpoints": [
            *[Name(f"rafiki.model.utils.checkpoint.{n}", getattr(checkpoint, n)) for n in ("save", "load")],
            *[Name(f"rafiki.model.utils.torch_training.{n}", getattr(torch_training, n)) for n in _TORCH],
        ],
        "Dataset helpers": helpers,
        "Trying and loading": [
            Name("rafiki.model.dev.test_model_class", dev.test_model_class),
            *_checkup(),
            *of_model(["load_model_class", "parse_model_install_command"]),
            *of_model(["serialize_knob_config", "deserialize_knob_config"]),
        ],
    }


def _checkup() -> list[Name]:
    return [Name("rafiki.model.dev.check_model", check_model)]


def told_in_prose() -> set[str]:
    """Names of ``rafiki.model`` that stand for others: the page says so above the entries."""
    return {"utils", "logger", "LoggerUtils", "DatasetUtils", "ImageFilesDataset", "CorpusDataset"}


def client_names() -> dict[str, list[Name]]:
    from rafiki import client

    return {name: [Name(f"rafiki.client.{name}", getattr(client, name))] for name in ("Client", "PredictorClient")}


# ---- pages


def model_page() -> str:
    return _page(model_names())


def client_page() -> str:
    return _page(client_names())


def _page(groups: dict[str, list[Name]]) -> str:
    parts = []
    for heading, names in groups.items():
        parts += [f"### {heading}", "", *map(_entry, names)]
    return "\n".join(parts)


def doc_of(name: Name) -> str:
    """The docstring of a name; of a type alias, the string below its assignment."""
    if _is_class(name.value) or inspect.isroutine(name.value):
        own = vars(name.value).get("__doc__") if _is_class(name.value) else name.value.__doc__
        return inspect.cleandoc(own or "")
    short = name.name.rpartition(".")[2]
    from rafiki.model import base, knobs

    found = {**module_docs(base.__file__), **module_docs(str(knobs.__file__))}
    return found.get(short, "")


def members(kind: type) -> list[Name]:
    """Public methods and properties of a class and of its bases in Rafiki, in the order of their source."""
    found: dict[str, Any] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.startswith("rafiki."):
            found |= {n: v for n, v in vars(owner).items() if not n.startswith("_")}
    kinds = (property, staticmethod, classmethod)
    return [Name(n, v) for n, v in found.items() if isinstance(v, kinds) or inspect.isfunction(v)]


def _is_class(value: Any) -> bool:
    return inspect.isclass(value) and not isinstance(value, types.GenericAlias)


def _entry(name: Name) -> str:
    if _is_class(name.value):
        return _class(name)
    if inspect.isroutine(name.value):
        return directive("py:function", f"{name.name}{signature(name.value)}", from_docstring(doc_of(name)))
    return directive("py:data", name.name, from_docstring(doc_of(name)))


def _class(name: Name) -> str:
    body = [from_docstring(_attributes(doc_of(name))), ""]
    for member in members(name.value):
        doc = inspect.getdoc(getattr(name.value, member.name)) or ""
        if doc and not _is_plumbing(member.name):
            body.append(_member(member, doc))
    return directive("py:class", f"{name.name}{signature(name.value)}", "\n".join(body))


def _is_plumbing(name: str) -> bool:
    return name in ("set_sink", "set_stopping_check", "to_json", "check")


def _member(member: Name, doc: str) -> str:
    text = from_docstring(doc)
    match member.value:
        case property():
            return directive("py:property", member.name, text)
        case staticmethod():
            return directive("py:staticmethod", f"{member.name}{signature(member.value.__func__)}", text)
        case classmethod():
            return directive("py:classmethod", f"{member.name}{signature(member.value.__func__, 1)}", text)
        case _:
            return directive("py:method", f"{member.name}{signature(member.value, 1)}", text)


def _attributes(doc: str) -> str:
    """``Attributes:`` reads like ``Args:``, under another heading."""
    return doc.replace("Attributes:", "Fields:")


def signature(value: Callable[..., Any], skip: int = 0) -> str:
    """Arguments with their defaults, without annotations, which the docstring tells in words."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    parameters = [p.replace(annotation=p.empty) for p in found.parameters.values()][skip:]
    text = str(found.replace(parameters=parameters, return_annotation=found.empty))
    return re.sub(r"<[\w.]+\.(\w+): [^>]*>", r"\1", text)

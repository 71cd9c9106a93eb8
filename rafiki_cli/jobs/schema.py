"""JSON Schemas of the files that people write, for their editors."""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
from functools import cache
from typing import Any, TypeAlias

import msgspec

from rafiki import registries
from rafiki.utils.values import JsonObject

_Schema: TypeAlias = dict[str, Any]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def job_schema() -> JsonObject:
    """Of a job file: one job, or several under ``jobs``."""
    from rafiki_cli.jobs import spec

    found = _schema(spec.JobFile, "Rafiki job")
    definitions = found["$defs"]
    # Either form; an editor then completes both.
    found["anyOf"] = [{"$ref": "#/$defs/JobSpec"}, {"$ref": "#/$defs/JobFile"}]
    del found["$ref"]
    _offer(definitions["JobSpec"], "task", registries.TASKS.names())
    _offer(definitions["JobSpec"], "advisor", [spec.AUTO, *registries.SCHEMES.names()])
    _offer(definitions["Advisor"], "scheme", [spec.AUTO, *registries.SCHEMES.names()])
    _offer(definitions["Advisor"], "early_ending", [spec.AUTO, *registries.RULES.names()])
    _loosen(definitions)
    return found


def config_schema() -> JsonObject:
    """Of rafiki.yaml."""
    from rafiki.settings import Config

    found = _schema(Config, "rafiki.yaml")
    _offer(found["$defs"]["ContainerConfig"], "backend", registries.CONTAINERS.names())
    for definition in found["$defs"].values():
        # A section without settings (`admin:`) is valid.
        for name, value in definition.get("properties", {}).items():
            if "$ref" in value:
                definition["properties"][name] = {"anyOf": [value, {"type": "null"}]}
    return found


def _schema(kind: type[msgspec.Struct], title: str) -> _Schema:
    found = msgspec.json.schema(kind)
    for name, definition in found["$defs"].items():
        if struct := _find_struct(kind, name):
            _describe(definition, struct)
    return {"$schema": _DRAFT, "title": title, "type": "object", **found}


def _offer(definition: _Schema, name: str, names: list[str]) -> None:
    """Editors complete what is registered here; the server may have others, which are texts too."""
    value = definition["properties"][name]
    about = {k: value.pop(k) for k in ("description", "default") if k in value}
    definition["properties"][name] = {"anyOf": [{"enum": names}, *value.pop("anyOf", [value])], **about}


def _loosen(definitions: _Schema) -> None:
    """``${VARIABLE}`` may stand for any value that is not a text."""
    expression = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
    for definition in definitions.values():
        for name, value in definition.get("properties", {}).items():
            if value.get("type") in ("integer", "number", "boolean"):
                about = {k: value.pop(k) for k in ("description", "default") if k in value}
                definition["properties"][name] = {"anyOf": [value, expression], **about}


def _find_struct(kind: type[msgspec.Struct], name: str) -> type[msgspec.Struct] | None:
    module = sys.modules[kind.__module__]
    found = getattr(module, name, None)
    return found if isinstance(found, type) and issubclass(found, msgspec.Struct) else None


def _describe(definition: _Schema, struct: type[msgspec.Struct]) -> None:
    about = field_docs(struct)
    for field in msgspec.structs.fields(struct):
        if field.encode_name in definition.get("properties", {}) and field.name in about:
            definition["properties"][field.encode_name]["description"] = about[field.name]


@cache
def field_docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Field -> the text that stands below it in the source, in one line."""
    tree = ast.parse(inspect.getsource(struct).strip())
    body = tree.body[0].body  # type: ignore[attr-defined]
    found: dict[str, str] = {}
    for field, text in itertools.pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            found[field.target.id] = " ".join(text.value.value.split())
    return found

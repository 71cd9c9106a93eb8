"""The reference of job.yaml, from the JSON Schema that the command line checks it with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docs._generate.markdown import code, full_stop, table
from rafiki_cli.jobs.schema import job_schema

_VARIABLE = r"\$\{"


@dataclass(frozen=True)
class Key:
    """One key of a job, with the keys above it: ``budget.trials``."""

    path: str
    schema: dict[str, Any]
    is_required: bool


def schema() -> dict[str, Any]:
    return job_schema()


def keys() -> list[Key]:
    """Every key of a job, in the order of the schema."""
    root = schema()
    [job] = [branch for branch in _branches(root, root) if "app" in branch.get("properties", {})]
    return list(_walk(job, root, "", ()))


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _branches(schema: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    schema = _resolve(schema, root)
    parts = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
    found = [b for part in parts for b in _branches(part, root)] if parts else [schema]
    # A variable may stand for any value; the page says so once.
    return [b for b in found if not str(b.get("pattern", "")).startswith(_VARIABLE)]


def _walk(schema: dict[str, Any], root: dict[str, Any], above: str, seen: tuple[str, ...]) -> Iterator[Key]:
    required = set(schema.get("required", []))
    for name, value in (schema.get("properties") or {}).items():
        path = f"{above}{name}"
        mark = json.dumps(value, sort_keys=True, default=str)
        if mark in seen and "$ref" in mark:
            continue
        full = _resolve(value, root)
        yield Key(path, full, name in required)
        told = set()
        for branch in _branches(value, root):
            item = branch.get("items")
            inner = _branches(item, root) if isinstance(item, dict) else [branch]
            end = "[]." if isinstance(item, dict) else "."
            for part in inner:
                for key in _walk(part, root, path + end, (*seen, mark)):
                    if key.path not in told:
                        told.add(key.path)
                        yield key


def kind_of(schema: dict[str, Any], root: dict[str, Any]) -> str:
    names: dict[str, None] = {}
    for branch in _branches(schema, root):
        if "enum" in branch:
            names.setdefault(", ".join(code(str(v)) for v in branch["enum"]))
        elif "const" in branch:
            names.setdefault(code(json.dumps(branch["const"])))
        elif branch.get("type") == "array":
            inner = kind_of(branch.get("items", {}), root) or "anything"
            names.setdefault(f"list of: {inner}")
        else:
            types = branch.get("type", "")
            for name in [types] if isinstance(types, str) else types:
                names.setdefault(_NAMES.get(name, name))
    return " or ".join(n for n in names if n and n != "null")


_NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "keys"}


def page() -> str:
    root = schema()
    rows = []
    for key in keys():
        meaning = full_stop(key.schema.get("description", ""))
        default = key.schema.get("default")
        if default not in (None, {}, []):
            meaning += f" Default: {code(json.dumps(default))}."
        if key.is_required and "[]" not in key.path:
            meaning += " Must be given."
        rows.append((code(key.path), kind_of(key.schema, root), meaning))
    return table(["key", "value", "meaning"], rows)

"""Finds the model class of a template file without running the file."""

from __future__ import annotations

import ast
from pathlib import Path

from rafiki_cli.terminal import UsageError, read_text


def _name(base: ast.expr) -> str:
    if isinstance(base, ast.Attribute):
        return base.attr
    return base.id if isinstance(base, ast.Name) else ""


def model_classes(source: str) -> list[str]:
    """The classes of a file's top level that derive from ``BaseModel``, themselves or through classes of the file.

    A class that another one of them derives from is left out: it is a base, not a model.
    """
    bases: dict[str, list[str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            bases[node.name] = [_name(b) for b in node.bases]

    def is_model(name: str, seen: frozenset[str] = frozenset()) -> bool:
        return name not in seen and any(b == "BaseModel" or is_model(b, seen | {name}) for b in bases.get(name, []))

    models = [name for name in bases if is_model(name)]
    used_as_base = {b for name in models for b in bases[name]}
    return [name for name in models if name not in used_as_base]


def find_model_class(file: Path) -> str:
    """The one model class of a file.

    Raises:
        UsageError: when the file cannot be read or parsed, or has no such class, or several.
    """
    try:
        found = model_classes(read_text(file, "this model file"))
    except (SyntaxError, ValueError) as e:
        where, reason = (f", line {e.lineno}", e.msg) if isinstance(e, SyntaxError) else ("", str(e))
        raise UsageError(f"{file}{where}: this is not valid Python: {reason}.") from e
    if not found:
        raise UsageError(f"{file}: no class in it derives from BaseModel. Name the class with --class.")
    if len(found) > 1:
        raise UsageError(
            f"{file}: several classes derive from BaseModel ({', '.join(found)}). Choose one with --class."
        )
    return found[0]

"""The reference of rafiki.yaml, from the structs of :mod:`rafiki.config`."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from docs._generate.fields import field_docs
from docs._generate.markdown import anchor, code, directive
from docs._generate.notes import notes
from docs._generate.types import type_name
from rafiki.config import ENV_PREFIX
from rafiki.container import BACKENDS
from rafiki.settings import Config

_UNITS = {"_s": "seconds", "_ms": "milliseconds", "_mb": "MB", "_hours": "hours", "_bytes": "bytes", "_days": "days"}


def sections() -> dict[str, type]:
    return {f.name: f.type for f in msgspec.structs.fields(Config)}


def settings() -> dict[str, tuple[Any, str]]:
    """``section.key`` -> its default and its docstring (empty where it has none)."""
    found = {}
    for section, kind in sections().items():
        docs = field_docs(kind)
        for field in msgspec.structs.fields(kind):
            default = getattr(kind(), field.name)
            found[f"{section}.{field.name}"] = (default, docs.get(field.name, ""))
    return found


def unit(key: str, kind: Any) -> str:
    """``seconds``, from the end of the name; else the type."""
    name = type_name(kind)
    found = next((u for end, u in _UNITS.items() if key.endswith(end)), "")
    return name.replace("whole number", found).replace("number", found) if found else name


def variable(key: str) -> str:
    return ENV_PREFIX + key.replace(".", "__").upper()


def _registered(key: str) -> str:
    """The values of a setting that names an entry of a registry, each with a word about it."""
    if key != "container.backend":
        return ""
    return ", ".join(f"`{name}` ({backend.about})" for name, backend in BACKENDS.items())


def page() -> str:
    parts = []
    for section, kind in sections().items():
        docs = field_docs(kind)
        parts += [anchor(f"settings-{section}"), f"### {section}", ""]
        if note := notes("settings").get(section):
            parts += [note, ""]
        for field in msgspec.structs.fields(kind):
            key = f"{section}.{field.name}"
            default = json.dumps(msgspec.to_builtins(getattr(kind(), field.name)))
            meaning = docs.get(field.name, "").replace("``", "`")
            if registered := _registered(key):
                meaning += f" One of {registered}."
            facts = f"Default {code(default)} · {unit(field.name, field.type)} · {code(variable(key))}"
            parts += [directive("confval", key, f"{meaning}\n\n{facts}")]
    return "\n".join(parts)

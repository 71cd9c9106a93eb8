"""The JSON Schemas that a project carries, so that editors complete and check its YAML files."""

from __future__ import annotations

import importlib
import importlib.util
import json
from typing import Any

_MODULE = "rafiki_cli.jobs.schema"


def schema_files() -> dict[str, bytes]:
    """``schemas/job.json`` and ``schemas/rafiki.json``."""
    found = {"job": _schema("job_schema"), "rafiki": _schema("config_schema")}
    return {
        f"schemas/{name}.json": (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()
        for name, schema in found.items()
    }


def _schema(function: str) -> dict[str, Any]:
    try:
        module = importlib.import_module(_MODULE)
    except ModuleNotFoundError:
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}
    schema: dict[str, Any] = getattr(module, function)()
    return schema

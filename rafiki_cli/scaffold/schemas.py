"""The JSON Schemas that a project carries, so that editors complete and check its YAML files."""

from __future__ import annotations

import json

from rafiki_cli.jobs.schema import config_schema, job_schema


def schema_files() -> dict[str, bytes]:
    """``schemas/job.json`` and ``schemas/rafiki.json``."""
    return {
        f"schemas/{name}.json": (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()
        for name, schema in (("job", job_schema()), ("rafiki", config_schema()))
    }

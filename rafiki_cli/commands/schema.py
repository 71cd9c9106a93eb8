"""``rafiki schema``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rafiki.utils.paths import why
from rafiki_cli import terminal
from rafiki_cli.lazy import new_app

app = new_app("JSON Schemas.")
_EXAMPLES = """\
Examples:

  rafiki schema job > schemas/job.json

  rafiki schema config --to schemas/rafiki.json
"""


class Kind(StrEnum):
    """What there is a schema of."""

    JOB = "job"
    CONFIG = "config"


@app.command(epilog=_EXAMPLES)
def schema(
    kind: Annotated[Kind, typer.Argument(help="job: of job files. config: of rafiki.yaml.")],
    to: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
) -> None:
    """Print the JSON Schema of a job file or of rafiki.yaml, for editors.

    An editor with a YAML language server completes and checks a file whose first line is
    `# yaml-language-server: $schema=schemas/job.json`.
    """
    from rafiki.utils.files import write_atomic
    from rafiki_cli.jobs.schema import config_schema, job_schema

    text = json.dumps(job_schema() if kind is Kind.JOB else config_schema(), indent=2)
    if to is None:
        terminal.put(text)
        return
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(to, text.encode() + b"\n")
    except OSError as e:
        raise terminal.UsageError(f"{to}: cannot be written: {why(e)}.") from e
    terminal.say(f"Wrote {to}.")

"""``rafiki model ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rafiki.constants import ExitCode, ModelAccessRight
from rafiki_cli import resolve, session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, Row, put_record, put_rows

app = new_app("Upload, list and delete model templates.")
_COLUMNS = [
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("TASK", "task"),
    Column("CLASS", "model_class"),
    Column("ACCESS", "access_right"),
    Column("CREATED", lambda r: values.local_time(r["datetime_created"])),
    Column("STATE", lambda r: values.first_line(r.get("load_error"), 60) or "loads"),
]


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(help="The Python file of the template.")],
    task: Annotated[str, typer.Option(help="The task that the model is for.")],
    model_class: Annotated[
        str | None, typer.Option("--class", help="Its model class; found by itself when there is just one.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The class's name if left out.")] = None,
    dependencies: Annotated[str | None, typer.Option(help='JSON: \'{"scikit-learn": ">=1.4"}\'.')] = None,
    dep: Annotated[list[str] | None, typer.Option(help="NAME=VERSION; can be repeated.")] = None,
    access: Annotated[ModelAccessRight, typer.Option(case_sensitive=False)] = ModelAccessRight.PRIVATE,
    docker_image: Annotated[str | None, typer.Option(help="Image in which the model runs under Docker.")] = None,
    allow_invalid: Annotated[
        bool, typer.Option("--allow-invalid", help="Exit with 0 though the file does not load.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Upload a model template. Exits with 3 when it is kept but does not load."""
    from rafiki_cli.find_class import find_model_class

    if not file.is_file():
        raise terminal.UsageError(f"{file}: there is no such file.")
    wanted = model_class or find_model_class(file)
    client = session.client()
    created = client.create_model(
        name or wanted, task, file, wanted, parse_dependencies(dependencies, dep or []), access, docker_image
    )
    put_record(created, [Column("ID", "id"), Column("NAME", "name")], format)
    if created.get("load_error"):
        terminal.warn(f"The file was kept, but it does not load: {created['load_error']}")
        if not allow_invalid:
            terminal.finish(ExitCode.REFUSED)


def parse_dependencies(text: str | None, pairs: list[str]) -> dict[str, str]:
    """PyPI package -> version from ``--dependencies`` (JSON) and ``--dep`` (``NAME=VERSION``).

    Raises:
        UsageError: when one of them has another form.
    """
    found: dict[str, Any] = {}
    if text:
        try:
            found = json.loads(text)
        except ValueError as e:
            raise terminal.UsageError(f"--dependencies: this is not JSON: {e}.") from e
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            raise terminal.UsageError('--dependencies: write a JSON object of texts: \'{"scikit-learn": ">=1.4"}\'.')
    for pair in pairs:
        name, equals, version = pair.partition("=")
        if not equals or not name.strip():
            raise terminal.UsageError(f"--dep {pair}: write NAME=VERSION, as in scikit-learn=1.4.0.")
        found[name.strip()] = version.lstrip("=").strip()
    return found


@app.command("list")
def list_(
    task: Annotated[str | None, typer.Option(help="Those of one task only.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your own models and all public ones."""
    rows = session.client().get_available_models(task)
    put_rows(rows, _COLUMNS, format, nothing="No models. Upload one with `rafiki model upload`.")


def _knobs(row: Row) -> str:
    config = row.get("knob_config") or {}
    return "\n".join(f"{knob}: {json.dumps(about)}" for knob, about in config.items())


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="Id, name, or the beginning of the id.")],
    save: Annotated[Path | None, typer.Option(help="Also write the model's file to this path.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a model and its knobs."""
    client = session.client()
    found = client.get_model(_id(client, model))
    if save is not None:
        client.download_model_file(found["id"], save)
        terminal.say(f"Wrote {save}.")
    dependencies = Column("DEPENDENCIES", lambda r: " ".join(f"{k} {v}" for k, v in r["dependencies"].items()))
    state = Column("STATE", lambda r: r.get("load_error") or "loads")
    put_record(found, [*_COLUMNS[:-1], dependencies, Column("KNOBS", _knobs), state], format)


@app.command()
def delete(
    model: Annotated[str, typer.Argument(help="Id, name, or the beginning of the id.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Delete a model that no train job refers to."""
    client = session.client()
    deleted = client.delete_model(_id(client, model))
    if format is Format.TABLE:
        terminal.say(f"Deleted the model {deleted['name']} ({deleted['id']}).")
    else:
        put_record(deleted, [], format)


def _id(client: Any, wanted: str) -> str:
    # A whole id also reaches what is not listed: an admin may see everyone's models.
    return wanted if len(wanted) == 36 and wanted.count("-") == 4 else str(resolve.model(client, wanted)["id"])

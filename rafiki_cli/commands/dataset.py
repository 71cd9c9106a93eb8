"""``rafiki dataset ...``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from rafiki_cli import resolve, session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_record, put_rows

app = new_app("Upload and list datasets.")
_COLUMNS = [
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("TASK", "task"),
    Column("SIZE", lambda r: values.size(r["size_bytes"]), is_right=True),
    Column("CREATED", lambda r: values.local_time(r["datetime_created"])),
]


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(help="The dataset, in the format of its task (docs/cli.md).")],
    task: Annotated[str, typer.Option(help="Such as IMAGE_CLASSIFICATION; any other name is a custom task.")],
    name: Annotated[str | None, typer.Option(help="The file's name without its ending if left out.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Upload a dataset."""
    if not file.is_file():
        raise terminal.UsageError(f"{file}: there is no such file.")
    client = session.client()
    dataset = client.create_dataset(name or file.stem, task, file, progress=_progress())
    put_record(dataset, [*_COLUMNS, Column("SHA-256", "sha256")], format)


def _progress() -> Callable[[int, int], None] | None:
    if not sys.stderr.isatty():
        return None
    shown = -1

    def show(sent: int, total: int) -> None:
        nonlocal shown
        percent = 100 * sent // total if total else 100
        if percent != shown:
            shown = percent
            end = "\n" if sent >= total else ""
            typer.echo(f"\rUploading {values.size(total)}: {percent} %{end}", nl=False, err=True)

    return show


@app.command("list")
def list_(
    task: Annotated[str | None, typer.Option(help="Those of one task only.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your datasets, newest first."""
    rows = session.client().get_datasets(task)
    put_rows(rows, _COLUMNS, format, nothing="No datasets. Upload one with `rafiki dataset upload`.")


@app.command()
def show(
    dataset: Annotated[str, typer.Argument(help="Id, name, or the beginning of the id.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Show one of your datasets."""
    put_record(resolve.dataset(session.client(), dataset), [*_COLUMNS, Column("SHA-256", "sha256")], format)

"""``rafiki dataset ...``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from rafiki.constants import Task
from rafiki_cli import resolve, session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, id_column, put_record, put_rows, time_column

app = new_app("Check, upload and list datasets.")
_COLUMNS = [
    id_column(),
    Column("NAME", "name", least=16),
    Column("TASK", "task", least=20),
    Column("SIZE", lambda r: values.size(r["size_bytes"]), is_right=True),
    time_column("CREATED", "datetime_created", rank=1),
]


@app.command()
def upload(
    task: Annotated[str, typer.Option(help="Such as IMAGE_CLASSIFICATION; any other name is a custom task.")],
    file: Annotated[
        Path | None, typer.Argument(help="The dataset, in the format of its task (docs/reference/tasks.md).")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Instead of FILE: an http or https address from which the admin fetches it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The file's name without its ending if left out.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Upload a dataset, or have it fetched from a URL."""
    if (file is None) == (url is None):
        raise terminal.UsageError("Give either FILE or --url URL.")
    if file is not None:
        terminal.check_file(file, folder_hint="a dataset is one file, such as a zip of it")
    name = name or (file.stem if file else _name_in(url or ""))
    resolve.check_task(task)
    client = session.client()
    dataset = client.create_dataset(name, task, file, url, progress=_progress())
    put_record(dataset, [*_COLUMNS, Column("SHA-256", "sha256")], format)


def _name_in(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    name = PurePosixPath(unquote(urlsplit(url).path)).stem
    if not name:
        raise terminal.UsageError(f"{url}: this address names no file. Choose a name with --name.")
    return name


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="The dataset, in the format of its task (docs/reference/tasks.md).")],
    task: Annotated[str, typer.Option(help="Such as IMAGE_CLASSIFICATION; any other name is a custom task.")],
) -> None:
    """Check a dataset as the admin does at upload, without uploading it."""
    from rafiki.errors import InvalidDatasetError
    from rafiki.tasks.registry import get_task

    terminal.check_file(file, folder_hint="a dataset is one file, such as a zip of it")
    resolve.check_task(task)
    if file.stat().st_size == 0:
        raise InvalidDatasetError(f"{file}: the dataset is empty.")
    if task not in list(Task):
        terminal.say(f"{file}: {task!r} is a custom task, whose datasets are not checked.")
        return
    try:
        get_task(task).validate_dataset(file)
    except InvalidDatasetError as e:
        raise InvalidDatasetError(f"{file}: {e.message}") from e
    terminal.say(f"{file} is a valid dataset of {task}.")


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

"""``rafiki dataset ...``."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion.arguments import DatasetArgument, TaskFilterOption, TaskOption
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import progress, values
from rafiki_cli.render.output import Column, Format, FormatOption, id_column, put_record, put_rows, time_column
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.contract.datasets import DatasetView

app = new_app("Check, upload and list datasets.")
_COLUMNS: list[Column[DatasetView]] = [
    id_column(),
    Column("NAME", lambda r: r.name, least=16),
    Column("TASK", lambda r: r.task, least=20),
    Column("SIZE", lambda r: values.size(r.size_bytes), is_right=True),
    time_column("CREATED", lambda r: r.datetime_created, rank=1),
]


@app.command(
    epilog=examples(
        "rafiki dataset upload data/train.zip --task IMAGE_CLASSIFICATION",
        "rafiki dataset upload train.csv --task TABULAR_REGRESSION --name prices",
        "rafiki dataset upload --url https://example.org/d.zip --task POS_TAGGING",
    )
)
def upload(
    cli: Application,
    task: TaskOption,
    file: Annotated[
        Path | None, typer.Argument(help="The dataset, in the format of its task: see `rafiki help tasks`.")
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
    client = cli.client()
    if file is None:
        dataset = client.create_dataset(name, task, dataset_url=url)
    else:
        with progress.transfer(f"Uploading {file.name}", after="The admin checks it") as show_progress:
            dataset = client.create_dataset(name, task, file, progress=show_progress)
    shown: DatasetView = dataset
    put_record(shown, [*_COLUMNS, Column("SHA-256", lambda r: r.sha256)], format)
    for warning in dataset.warnings:
        terminal.warn(warning)
    if format is Format.TABLE:
        terminal.hint(f"Next: rafiki train create --app APP --train {dataset.name} --val DATASET")


def _name_in(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    name = PurePosixPath(unquote(urlsplit(url).path)).stem
    if not name:
        raise terminal.UsageError(f"{url}: this address names no file. Choose a name with --name.")
    return name


@app.command(epilog=examples("rafiki dataset validate data/train.zip --task IMAGE_CLASSIFICATION"))
def validate(
    file: Annotated[Path, typer.Argument(help="The dataset, in the format of its task: see `rafiki help tasks`.")],
    task: TaskOption,
) -> None:
    """Check a dataset as the admin does at upload, without uploading it."""
    from rafiki import registries
    from rafiki.errors import InvalidDatasetError
    from rafiki.tasks.registry import get_task

    terminal.check_file(file, folder_hint="a dataset is one file, such as a zip of it")
    resolve.check_task(task)
    if file.stat().st_size == 0:
        raise InvalidDatasetError(f"{file}: the dataset is empty.")
    if task not in registries.TASKS.names():
        terminal.say(f"{file}: {task!r} is a custom task, whose datasets are not checked.")
        return
    try:
        rules = get_task(task)
        rules.validate_dataset(file)
        warnings = rules.find_oddities(file)
    except InvalidDatasetError as e:
        raise InvalidDatasetError(f"{file}: {e.message}") from e
    for warning in warnings:
        terminal.warn(f"{file}: {warning}")
    terminal.say(f"{file} is a valid dataset of {task}.")


@app.command("list", epilog=examples("rafiki dataset list", "rafiki dataset list --task POS_TAGGING -o json"))
def list_(
    cli: Application,
    task: TaskFilterOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your datasets, newest first."""
    rows = cli.client().get_datasets(task)
    put_rows(rows, _COLUMNS, format, nothing="No datasets. Upload one with `rafiki dataset upload`.")


@app.command(epilog=examples("rafiki dataset show train"))
def show(
    cli: Application,
    dataset: DatasetArgument,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show one of your datasets."""
    put_record(resolve.dataset(cli.client(), dataset), [*_COLUMNS, Column("SHA-256", lambda r: r.sha256)], format)

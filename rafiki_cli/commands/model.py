"""``rafiki model ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExitCode, ModelAccessRight
from rafiki.errors import DuplicateModelNameError, InvalidModelError, ModelUsedError
from rafiki.utils.values import JsonValue
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion.arguments import ModelArgument, TaskFilterOption, TaskOption
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import progress, values
from rafiki_cli.render.output import Column, Format, FormatOption, id_column, put_record, put_rows, time_column
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.models import ModelCreatedView, ModelView

app = new_app("Write, test, upload, list and delete model templates.")
_COLUMNS: list[Column[ModelView]] = [
    id_column(),
    Column("NAME", lambda r: r.name, least=16),
    Column("TASK", lambda r: r.task, rank=2),
    Column("CLASS", lambda r: r.model_class, least=12, rank=3),
    Column("ACCESS", lambda r: r.access_right),
    time_column("CREATED", lambda r: r.datetime_created, rank=1),
    Column(
        "STATE",
        lambda r: values.one_line(r.load_error) or "loads",
        short=lambda r: values.first_line(r.load_error) or "loads",
        least=12,
    ),
]


@app.command(
    epilog=examples(
        "rafiki model upload my_model.py --task IMAGE_CLASSIFICATION",
        "rafiki model upload svm.py --task T --dep scikit-learn=1.5.2 --access PUBLIC",
        "rafiki model upload svm.py --task T --class Svm --name Svm2 --replace",
    )
)
def upload(
    cli: Application,
    file: Annotated[Path, typer.Argument(help="The Python file of the template.")],
    task: TaskOption,
    model_class: Annotated[
        str | None, typer.Option("--class", help="Its model class; found by itself when there is just one.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The class's name if left out.")] = None,
    dependencies: Annotated[str | None, typer.Option(help='JSON: \'{"scikit-learn": ">=1.4"}\'.')] = None,
    dep: Annotated[list[str] | None, typer.Option(help="NAME=VERSION; can be repeated.")] = None,
    access: Annotated[
        ModelAccessRight, typer.Option(case_sensitive=False, help="PUBLIC: other users may train it too.")
    ] = ModelAccessRight.PRIVATE,
    docker_image: Annotated[str | None, typer.Option(help="Image in which the model runs under Docker.")] = None,
    allow_invalid: Annotated[
        bool, typer.Option("--allow-invalid", help="Exit with 0 though the file does not load.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of your model of that name, if no train job refers to it.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Upload a model template. Exits with 3 when it is kept but does not load."""
    from rafiki_cli.scaffold.find_class import find_model_class

    terminal.check_file(file, folder_hint="a model template is one Python file")
    wanted = model_class or find_model_class(file)
    packages = parse_dependencies(dependencies, dep or [])
    name = name or wanted
    resolve.check_task(task)
    client = cli.client()

    def create() -> ModelCreatedView:
        with progress.installing(client, packages):
            return client.create_model(name, task, file, wanted, packages, access, docker_image)

    try:
        created = create()
    except DuplicateModelNameError as e:
        if not replace:
            raise DuplicateModelNameError(
                f"You have a model named {name!r} already. Replace it with --replace, or choose another name with "
                "--name."
            ) from e
        # Only now: the admin has looked at the rest of the request, so the old model is not lost to a bad one.
        _delete_own(client, name)
        created = create()
    put_record(created, [Column("ID", lambda r: r.id), Column("NAME", lambda r: r.name)], format)
    if created.load_error:
        terminal.warn(f"The file was kept, but it does not load: {created.load_error}")
        if not allow_invalid:
            terminal.finish(ExitCode.REFUSED)
    elif format is Format.TABLE:
        terminal.hint(f"Next: rafiki train create --app APP --model {name} --train DATASET --val DATASET")


def _delete_own(client: AdminClient, name: str) -> None:
    me = client.get_current_user().id
    old = next(m for m in client.get_available_models() if m.name == name and m.user_id == me)
    try:
        client.delete_model(old.id)
    except ModelUsedError as e:
        raise ModelUsedError(
            f"A train job refers to your model {name!r}, so it stays as it is. Upload this one beside it under another "
            f"name: --name {name}2."
        ) from e


def parse_dependencies(text: str | None, pairs: list[str]) -> dict[str, str]:
    """PyPI package -> version from ``--dependencies`` (JSON) and ``--dep`` (``NAME=VERSION``).

    Raises:
        UsageError: when one of them has another form.
    """
    found: dict[str, str] = {}
    if text:
        try:
            given: JsonValue = json.loads(text)
        except ValueError as e:
            from rafiki.utils.json_text import why_not_json

            raise terminal.UsageError(f"--dependencies: this is not JSON: {why_not_json(text)}.") from e
        versions = given if isinstance(given, dict) else {}
        found = {name: version for name, version in versions.items() if isinstance(version, str)}
        if found != given:
            raise terminal.UsageError('--dependencies: write a JSON object of texts: \'{"scikit-learn": ">=1.4"}\'.')
    for pair in pairs:
        name, equals, version = pair.partition("=")
        if not equals or not name.strip():
            raise terminal.UsageError(f"--dep {pair}: write NAME=VERSION, as in scikit-learn=1.4.0.")
        found[name.strip()] = version.lstrip("=").strip()
    return found


@app.command("list", epilog=examples("rafiki model list", "rafiki model list --task IMAGE_CLASSIFICATION"))
def list_(
    cli: Application,
    task: TaskFilterOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your own models and all public ones."""
    rows = cli.client().get_available_models(task)
    put_rows(rows, _COLUMNS, format, nothing="No models. Upload one with `rafiki model upload`.")


@app.command(epilog=examples("rafiki model download SkSvm", "rafiki model download SkSvm --to old/svm.py --force"))
def download(
    cli: Application,
    model: ModelArgument,
    to: Annotated[Path | None, typer.Option(help="A file or folder; NAME.py in this folder if left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write the file of a model: for its owner and admins."""
    client = cli.client()
    found = _find(client, model)
    file = Path(f"{found.name}.py") if to is None else to / f"{found.name}.py" if to.is_dir() else to
    if file.exists() and not force:
        raise terminal.UsageError(f"{file} is there already. Overwrite it with --force, or choose a file with --to.")
    _save(client, found, file)


def _knobs(row: ModelView) -> str:
    import msgspec

    config = row.knob_config or {}
    return "\n".join(f"{knob}: {json.dumps(msgspec.to_builtins(about))}" for knob, about in config.items())


@app.command(epilog=examples("rafiki model show SkSvm", "rafiki model show SkSvm -o yaml"))
def show(
    cli: Application,
    model: ModelArgument,
    save: Annotated[Path | None, typer.Option(help="Also write the model's file to this path.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show a model and its knobs."""
    client = cli.client()
    found = _find(client, model)
    if save is not None:
        _save(client, found, save)
    dependencies: Column[ModelView] = Column(
        "DEPENDENCIES", lambda r: " ".join(f"{k} {v}" for k, v in r.dependencies.items())
    )
    state: Column[ModelView] = Column("STATE", lambda r: r.load_error or "loads")
    put_record(found, [*_COLUMNS[:-1], dependencies, Column("KNOBS", _knobs), state], format)


def _find(client: AdminClient, wanted: str) -> ModelView:
    try:
        # The list holds all that there is to show, of public models of others too: those have no page of their own.
        return resolve.model(client, wanted)
    except InvalidModelError:
        if not resolve.is_whole_id(wanted):
            raise
    return client.get_model(wanted)  # An admin sees everyone's models.


def _save(client: AdminClient, model: ModelView, file: Path) -> None:
    try:
        with progress.transfer(f"Downloading {file.name}") as show_progress:
            client.download_model_file(model.id, file, progress=show_progress)
    except InvalidModelError as e:
        raise InvalidModelError(
            f"The model {model.name!r} belongs to another user: its file is for its owner and admins."
        ) from e
    terminal.say(f"Wrote {file}.")


@app.command(epilog=examples("rafiki model delete SkSvm"))
def delete(
    cli: Application,
    model: ModelArgument,
    format: FormatOption = Format.TABLE,
) -> None:
    """Delete a model that no train job refers to."""
    client = cli.client()
    # A whole id also reaches what is not listed: an admin may delete everyone's models.
    model_id = model if resolve.is_whole_id(model) else resolve.model(client, model).id
    try:
        deleted = client.delete_model(model_id)
    except ModelUsedError as e:
        raise ModelUsedError(f"A train job refers to the model {model!r}, so it cannot be deleted.") from e
    except InvalidModelError as e:
        if model_id == model:
            raise
        raise InvalidModelError(f"The model {model!r} belongs to another user, so you cannot delete it.") from e
    if format is Format.TABLE:
        terminal.say(f"Deleted the model {deleted.name} ({deleted.id}).")
    else:
        put_record(deleted, [], format)


app.command_of("new", "rafiki_cli.commands.model_new")
app.command_of("test", "rafiki_cli.commands.model_test")

"""``rafiki model ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExistingName, ExitCode, ModelAccessRight
from rafiki.errors import DuplicateModelNameError, InvalidModelError, ModelUsedError
from rafiki.utils.ids import VERSION_SIGN
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

app = new_app("Write, test, upload, compare, list and delete model templates and their versions.")
_COLUMNS: list[Column[ModelView]] = [
    id_column(),
    Column("NAME", lambda r: r.ref, least=16),
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
        "rafiki model upload svm.py --task T --class Svm --name wine",
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
    docker_image: Annotated[
        str | None,
        typer.Option(help="Image for its workers, where these run in images (container.backend: swarm)."),
    ] = None,
    allow_invalid: Annotated[
        bool, typer.Option("--allow-invalid", help="Exit with 0 though the file does not load.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the newest version, if no train job refers to it.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Upload a model template. Under a name of yours it becomes the next version, unless nothing differs from the
    newest one. Exits with 3 when it is kept but does not load."""
    from rafiki_cli.jobs.content import ModelContent, changed_text, hash_file
    from rafiki_cli.scaffold.find_class import find_model_class

    terminal.check_file(file, folder_hint="a model template is one Python file")
    wanted = model_class or find_model_class(file)
    packages = parse_dependencies(dependencies, dep or [])
    name = name or wanted
    check_new_name(name)
    resolve.check_task(task)
    client = cli.client()

    def create(existing_name: ExistingName) -> ModelCreatedView:
        with progress.installing(client, packages):
            return client.create_model(
                name, task, file, wanted, packages, access, docker_image, existing_name=existing_name
            )

    newest = _newest_own(client, name)
    try:
        created = create(ExistingName.REFUSE if replace else ExistingName.VERSION)
    except DuplicateModelNameError:
        # Only now: the admin has looked at the rest of the request, so the old model is not lost to a bad one.
        if (newest := _newest_own(client, name)) is not None:
            _delete_replaced(client, newest)
        created = create(ExistingName.VERSION)
    put_record(created, [Column("ID", lambda r: r.id), Column("NAME", lambda r: r.ref)], format)
    if not created.is_new:
        terminal.say(f"{created.ref} is already that: nothing was uploaded.")
    elif newest is not None and not replace:
        sent = ModelContent(
            file_sha256=hash_file(file), model_class=wanted, task=task, dependencies=packages, access=access,
            image=docker_image,
        )  # fmt: skip
        changes = sent.changes_since(ModelContent.of_row(newest))
        why = f", because {changed_text(changes)} since {newest.ref}" if changes else ""
        terminal.say(f"Uploaded as version {created.version} of {name}{why}.")
    for note in created.notes:
        terminal.warn(note)
    if created.load_error:
        terminal.warn(f"The file was kept, but it does not load: {created.load_error}")
        terminal.hint(f"Check it again, with more time: rafiki model check {created.ref}")
        if not allow_invalid:
            terminal.finish(ExitCode.REFUSED)
    elif format is Format.TABLE:
        terminal.hint(f"Next: rafiki train create --app APP --model {name} --train DATASET --val DATASET")


def check_new_name(name: str) -> None:
    """Raises UsageError for a name in which a version stands."""
    if VERSION_SIGN in name:
        raise terminal.UsageError(
            f"--name {name}: what is uploaded has no {VERSION_SIGN} in its name. Its version is counted by itself: "
            f"--name {name.partition(VERSION_SIGN)[0] or 'NAME'}."
        )


def _newest_own(client: AdminClient, name: str) -> ModelView | None:
    me = client.get_current_user().id
    own = (m for m in client.get_available_models(all_versions=True) if (m.user_id, m.name) == (me, name))
    return max(own, key=lambda m: m.version, default=None)


def _delete_replaced(client: AdminClient, model: ModelView) -> None:
    try:
        client.delete_model(model.id)
    except ModelUsedError as e:
        raise ModelUsedError(
            f"A train job refers to your model {model.ref!r}, so it stays as it is. Without --replace this becomes "
            f"version {model.version + 1} of it."
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


@app.command(
    "list",
    epilog=examples(
        "rafiki model list", "rafiki model list --task IMAGE_CLASSIFICATION", "rafiki model list --all-versions"
    ),
)
def list_(
    cli: Application,
    task: TaskFilterOption = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="All versions of each model, not its newest one alone.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """List your own models and all public ones: of each its newest version."""
    rows = cli.client().get_available_models(task, all_versions=all_versions)
    put_rows(rows, _COLUMNS, format, nothing="No models. Upload one with `rafiki model upload`.")


@app.command(epilog=examples("rafiki model download SkSvm", "rafiki model download wine@2 --to old/svm.py --force"))
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


@app.command(epilog=examples("rafiki model show SkSvm", "rafiki model show wine@2 -o yaml"))
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
    checked: Column[ModelView] = Column(
        "CHECKED", lambda r: values.local_time(r.datetime_checked) if r.datetime_checked else "at its upload"
    )
    versions: Column[ModelView] = Column("VERSIONS", lambda r: ", ".join(m.ref for m in _versions(client, r)))
    put_record(found, [*_COLUMNS[:-1], versions, dependencies, Column("KNOBS", _knobs), state, checked], format)


def _versions(client: AdminClient, model: ModelView) -> list[ModelView]:
    rows = client.get_available_models(all_versions=True)
    found = [r for r in rows if (r.user_id, r.name) == (model.user_id, model.name)]
    return sorted(found, key=lambda r: r.version) or [model]


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
            f"The model {model.ref!r} belongs to another user: its file is for its owner and admins."
        ) from e
    terminal.say(f"Wrote {file}.")


@app.command(epilog=examples("rafiki model delete wine@1"))
def delete(
    cli: Application,
    model: ModelArgument,
    format: FormatOption = Format.TABLE,
) -> None:
    """Delete one version of a model, if no train job refers to it. A name alone will do while it has one version."""
    client = cli.client()
    # A whole id also reaches what is not listed: an admin may delete everyone's models.
    model_id = model if resolve.is_whole_id(model) else _one_version(client, model).id
    try:
        deleted = client.delete_model(model_id)
    except ModelUsedError as e:
        raise ModelUsedError(f"A train job refers to the model {model!r}, so it cannot be deleted.") from e
    except InvalidModelError as e:
        if model_id == model:
            raise
        raise InvalidModelError(f"The model {model!r} belongs to another user, so you cannot delete it.") from e
    if format is Format.TABLE:
        terminal.say(f"Deleted the model {deleted.ref} ({deleted.id}).")
    else:
        put_record(deleted, [], format)


def _one_version(client: AdminClient, wanted: str) -> ModelView:
    """The version that is meant. A name alone must not delete one of several that nobody named.

    Raises:
        UsageError: when there are several.
    """
    found = resolve.model(client, wanted)
    versions = _versions(client, found)
    if wanted == found.name and len(versions) > 1:
        raise terminal.UsageError(
            f"{wanted!r} has {len(versions)} versions: {', '.join(m.ref for m in versions)}. Name one of them."
        )
    return found


app.command_of("new", "rafiki_cli.commands.model_new")
app.command_of("test", "rafiki_cli.commands.model_test")
app.command_of("check", "rafiki_cli.commands.model_check")
app.command_of("diff", "rafiki_cli.commands.model_diff")

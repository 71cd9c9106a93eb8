"""``rafiki model diff``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import InvalidModelError
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Format, FormatOption, put_data
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.models import ModelView

app = new_app("Differences between models.")


@app.command(epilog=examples("rafiki model diff wine@2 wine@3", "rafiki model diff wine"))
def diff(
    cli: Application,
    first: Annotated[str, typer.Argument(help="A version, such as wine@2.", autocompletion=completers.models)],
    second: Annotated[
        str | None,
        typer.Argument(help="Another; if left out, FIRST and the version before it.", autocompletion=completers.models),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what differs between two versions of a model, or two models: settings, then the files as a unified diff."""
    client = cli.client()
    if second is None:
        newer = resolve.model(client, first)
        older = _before(client, newer)
    else:
        older, newer = resolve.model(client, first), resolve.model(client, second)
    settings = list(_settings(older, newer))
    lines = list(_file_lines(client, older, newer))
    if format is not Format.TABLE:
        changed = [{"setting": name, "first": ours, "second": theirs} for name, ours, theirs in settings]
        put_data({"first": older.ref, "second": newer.ref, "settings": changed, "file": "\n".join(lines)}, format)
        return
    for name, ours, theirs in settings:
        terminal.put(f"{name}: {ours} -> {theirs}")
    for line in lines:
        terminal.put(line)
    if not settings and not lines:
        terminal.say(f"{older.ref} and {newer.ref} do not differ.")


def _before(client: AdminClient, model: ModelView) -> ModelView:
    """The version of the model before this one.

    Raises:
        InvalidModelError: when it is the first.
    """
    rows = client.get_available_models(all_versions=True)
    older = [r for r in rows if (r.user_id, r.name) == (model.user_id, model.name) and r.version < model.version]
    if not older:
        raise InvalidModelError(f"There is no version of {model.name!r} before {model.ref}. Name two models.")
    return max(older, key=lambda r: r.version)


def _settings(first: ModelView, second: ModelView) -> Iterator[tuple[str, str, str]]:
    """What is set differently: its name, the first value, the second."""
    yield from (
        (name, ours, theirs)
        for name, ours, theirs in (
            ("task", first.task, second.task),
            ("class", first.model_class, second.model_class),
            ("access", str(first.access_right), str(second.access_right)),
            ("docker_image", first.docker_image or "none", second.docker_image or "none"),
        )
        if ours != theirs
    )
    for name in sorted({*first.dependencies, *second.dependencies}):
        versions = [
            (m.dependencies[name] or "any version") if name in m.dependencies else "none" for m in (first, second)
        ]
        if versions[0] != versions[1]:
            yield f"dependencies.{name}", versions[0], versions[1]


def _file_lines(client: AdminClient, first: ModelView, second: ModelView) -> Iterator[str]:
    if first.model_file_sha256 == second.model_file_sha256:
        return
    texts = [client.get_model_file(m.id).decode("utf-8", "replace").splitlines() for m in (first, second)]
    names = [f"{m.ref}/{m.name}.py" for m in (first, second)]
    yield from difflib.unified_diff(texts[0], texts[1], names[0], names[1], lineterm="")

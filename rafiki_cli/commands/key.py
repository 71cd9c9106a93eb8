"""``rafiki key ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import InvalidKeyError
from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion.arguments import AppArgument
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    id_column,
    put_record,
    put_rows,
    put_secret,
    time_column,
)

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.predictor_keys import KeyView

app = new_app("Make, list and revoke keys for predictors that ask for one.")
_COLUMNS: list[Column[KeyView]] = [
    id_column(rank=1),
    Column("NAME", lambda r: r.name, least=12),
    time_column("CREATED", lambda r: r.datetime_created),
]


@app.command(epilog=examples("rafiki key create digits --name website"))
def create(
    cli: Application,
    app: AppArgument,
    name: Annotated[str, typer.Option(help="What it is for; one name for one key of the app.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a key of an app, and print it. It is shown this once: only its hash is kept."""
    made = cli.client().create_key(app, name)
    about = [
        f"The key {name!r} is for predictors of {app} that were deployed with --require-key.",
        "It is not shown again. Send it as `Authorization: Bearer KEY`; `rafiki predict` takes RAFIKI_KEY.",
    ]
    put_secret(made, made.key, about, format)


@app.command("list", epilog=examples("rafiki key list digits"))
def list_(cli: Application, app: AppArgument, format: FormatOption = Format.TABLE) -> None:
    """List the keys of an app that are not revoked, without the keys themselves."""
    nothing = f"No keys. Make one with `rafiki key create {app} --name website`."
    put_rows(cli.client().get_keys(app), _COLUMNS, format, nothing=nothing)


@app.command(epilog=examples("rafiki key revoke digits website"))
def revoke(
    cli: Application,
    app: AppArgument,
    key: Annotated[str, typer.Argument(metavar="NAME|ID", help="Its name, its id, or the beginning of the id.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Revoke a key: within a second predictors refuse it."""
    client = cli.client()
    revoked = client.revoke_key(app, _find(client, app, key).id)
    if format is Format.TABLE:
        terminal.say(f"Revoked the key {revoked.name!r} of {app}.")
    else:
        put_record(revoked, [], format)


def _find(client: AdminClient, app: str, wanted: str) -> KeyView:
    rows = client.get_keys(app)
    found = [row for row in rows if wanted in (row.id, row.name)]
    found = found or [row for row in rows if len(wanted) >= 4 and row.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidKeyError(f"{wanted!r} begins the ids of {len(found)} keys. Write more of the id.")
    hint = did_you_mean(wanted, [row.name for row in rows], f"`rafiki key list {app}` shows those it has.")
    raise InvalidKeyError.not_found(f"The app {app!r} has no key {wanted!r}. {hint}")

"""``rafiki token ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import InvalidApiTokenError
from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
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
    from rafiki.contract.api_tokens import ApiTokenView

app = new_app("Make, list and revoke API tokens: what CI jobs and programs use instead of a login.")
_COLUMNS: list[Column[ApiTokenView]] = [
    id_column(rank=2),
    Column("NAME", lambda r: r.name, least=12),
    time_column("CREATED", lambda r: r.datetime_created, rank=3),
    time_column("EXPIRES", lambda r: r.datetime_expires),
    time_column("LAST USED", lambda r: r.datetime_used, rank=1),
    Column("STATE", lambda r: "EXPIRED" if r.is_expired else "valid"),
]


@app.command(
    epilog=examples(
        "rafiki token create --name ci --expires 30d", "export RAFIKI_TOKEN=$(rafiki token create --name laptop -q)"
    )
)
def create(
    cli: Application,
    name: Annotated[str, typer.Option(help="What it is for; one name for one token.")],
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="<duration>", help="How long it is valid, as 12h or 30d. [default: as long as the stack allows]"
        ),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make an API token of yours, and print it. It is shown this once: only its hash is kept."""
    from rafiki_cli.render.durations import parse_duration

    expires_in_s = None if expires is None else max(1, round(parse_duration(expires, "--expires")))
    made = cli.client().create_api_token(name, expires_in_s)
    about = [
        f"The API token {name!r} is valid until {values.local_time(made.datetime_expires)}.",
        "It is not shown again. Programs give it as RAFIKI_TOKEN; keep it where secrets are kept.",
    ]
    put_secret(made, made.token, about, format)


@app.command("list", epilog=examples("rafiki token list", "rafiki token list -o json"))
def list_(cli: Application, format: FormatOption = Format.TABLE) -> None:
    """List your API tokens that are not revoked, without the tokens themselves."""
    nothing = "No API tokens. Make one with `rafiki token create --name ci`."
    put_rows(cli.client().get_api_tokens(), _COLUMNS, format, nothing=nothing)


@app.command(epilog=examples("rafiki token revoke ci"))
def revoke(
    cli: Application,
    token: Annotated[
        str,
        typer.Argument(
            metavar="NAME|ID", help="Its name, its id, or the beginning of the id.", autocompletion=completers.tokens
        ),
    ],
    format: FormatOption = Format.TABLE,
) -> None:
    """Revoke an API token of yours: the next call with it is refused."""
    client = cli.client()
    revoked = client.revoke_api_token(_find(client, token).id)
    if format is Format.TABLE:
        terminal.say(f"Revoked the API token {revoked.name!r}.")
    else:
        put_record(revoked, [], format)


def _find(client: AdminClient, wanted: str) -> ApiTokenView:
    rows = client.get_api_tokens()
    for row in rows:
        if wanted in (row.id, row.name):
            return row
    found = [row for row in rows if row.id.startswith(wanted)] if len(wanted) >= 4 else []
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidApiTokenError(f"{wanted!r} begins the ids of {len(found)} tokens. Write more of the id.")
    hint = did_you_mean(wanted, [row.name for row in rows], "`rafiki token list` shows those you have.")
    raise InvalidApiTokenError.not_found(f"You have no API token {wanted!r}. {hint}")

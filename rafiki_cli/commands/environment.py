"""``rafiki environment ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rafiki.errors import InvalidEnvironmentError
from rafiki_cli import completers, session, terminal
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    error_column,
    put_data,
    put_rows,
    time_column,
)

if TYPE_CHECKING:
    from rafiki.client import Client

app = new_app("The installed packages that models depend on: one environment for each distinct set.")
_COLUMNS = [
    Column("KEY", "key", least=16),
    Column("PACKAGES", lambda r: ", ".join(r["requirements"]), least=20),
    Column("STATUS", "status"),
    Column("SIZE", lambda r: values.size(r["size_bytes"]), is_right=True, rank=2),
    Column("MODELS", "n_models", is_right=True, rank=3),
    Column("IN USE", lambda r: values.text(r["is_in_use"]), rank=3),
    time_column("BUILT", "datetime_built", rank=1),
    error_column("REASON", "reason"),
]
_NONE = "No environments: what the models depend on is installed beside Rafiki."


@app.command("list", epilog=examples("rafiki environment list"))
def list_(format: FormatOption = Format.TABLE) -> None:
    """List the environments."""
    put_rows(session.client().get_environments(), _COLUMNS, format, nothing=_NONE)


@app.command(epilog=examples("rafiki environment log 1f3a"))
def log(
    key: Annotated[
        str, typer.Argument(help="Its key, or the beginning of it.", autocompletion=completers.environments)
    ],
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what was said when an environment was built."""
    client = session.client()
    found = client.get_environment_log(_find(client, key)["key"])
    if format is not Format.TABLE:
        put_data(found, format)
        return
    for line in found["lines"]:
        terminal.put(line)


@app.command(epilog=examples("rafiki environment remove 1f3a", "rafiki environment remove --unused"))
def remove(
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]...", help="Keys, or their beginnings.", autocompletion=completers.environments),
    ] = None,
    unused: Annotated[bool, typer.Option("--unused", help="All that no model depends on.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Remove environments that no live job uses; one that is needed again is built again."""
    if bool(keys) == unused:
        raise terminal.UsageError("Give either KEYs or --unused.")
    client = session.client()
    if unused:
        chosen = [e for e in client.get_environments() if e["n_models"] == 0 and e["status"] != "BUILDING"]
    else:
        chosen = [_find(client, key) for key in keys or []]
    removed = [client.remove_environment(e["key"]) for e in chosen]
    if format is Format.TABLE:
        size = sum(e["size_bytes"] or 0 for e in removed)
        terminal.say(f"Removed {values.count(len(removed), 'environment')} ({values.size(size)}).")
    else:
        put_rows(removed, _COLUMNS, format)


def _find(client: Client, wanted: str) -> dict[str, Any]:
    rows = client.get_environments()
    found = [row for row in rows if row["key"].startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidEnvironmentError(f"{wanted!r} begins the keys of {len(found)} environments. Write more of it.")
    raise InvalidEnvironmentError.not_found(
        f"There is no environment {wanted!r}. List them: `rafiki environment list`."
    )

"""``rafiki environment ...``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import InvalidEnvironmentError
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
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
    from rafiki.client.records import AdminClient
    from rafiki.contract.environments import EnvironmentView

app = new_app("The installed packages that models depend on: one environment for each distinct set.")
_COLUMNS: list[Column[EnvironmentView]] = [
    Column("KEY", lambda r: r.key, least=16),
    Column("PACKAGES", lambda r: ", ".join(r.requirements), least=20),
    Column("STATUS", lambda r: r.status),
    Column("SIZE", lambda r: values.size(r.size_bytes), is_right=True, rank=2),
    Column("MODELS", lambda r: r.n_models, is_right=True, rank=3),
    Column("IN USE", lambda r: values.text(r.is_in_use), rank=3),
    time_column("BUILT", lambda r: r.datetime_built, rank=1),
    error_column(lambda r: r.reason, "REASON"),
]
_NONE = "No environments: what the models depend on is installed beside Rafiki."


@app.command("list", epilog=examples("rafiki environment list"))
def list_(cli: Application, format: FormatOption = Format.TABLE) -> None:
    """List the environments."""
    put_rows(cli.client().get_environments(), _COLUMNS, format, nothing=_NONE)


@app.command(epilog=examples("rafiki environment log 1f3a", "rafiki environment log 1f3a --follow"))
def log(
    cli: Application,
    key: Annotated[
        str, typer.Argument(help="Its key, or the beginning of it.", autocompletion=completers.environments)
    ],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is said until it is built.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what was said when an environment was built."""
    if follow and format in (Format.JSON, Format.YAML):
        raise terminal.UsageError(f"-o {format} needs an end, and --follow has none. Take -o jsonl: an event a line.")
    client = cli.client()
    whole_key = _find(client, key).key
    if follow:
        from rafiki_cli.watch.health import while_healthy

        with contextlib.suppress(KeyboardInterrupt), while_healthy(client.address, client.trust):
            _follow(client, whole_key, format)
        return
    found = client.get_environment_log(whole_key)
    if format is not Format.TABLE:
        put_data(found, format)
        return
    for line in found.lines:
        terminal.put(line)


def _follow(client: AdminClient, key: str, format: Format) -> None:
    """Put out what the build says until it ends."""
    from rafiki.client.records import Away
    from rafiki.contract.environments import EnvironmentEnded, EnvironmentSnapshot
    from rafiki_cli.watch import streams

    heading, n_told = "", 0
    for event in (e for batch in streams.batches(client.watch_environment, key, tick_s=60.0) for e in batch):
        if isinstance(event, Away):
            continue
        if format is Format.JSONL:
            put_data(event, format)
            continue
        if isinstance(event, EnvironmentEnded):
            terminal.say(f"{key} {event.status}{': ' + event.reason if event.reason else ''}")
            continue
        lines = event.lines
        if isinstance(event, EnvironmentSnapshot):
            # A stream that was opened again begins with all lines of the attempt, whose first one tells its time.
            if lines[:1] != [heading]:
                heading, n_told = "".join(lines[:1]), 0
            lines = lines[n_told:]
        n_told += len(lines)
        for line in lines:
            terminal.put(line)


@app.command(epilog=examples("rafiki environment remove 1f3a", "rafiki environment remove --unused"))
def remove(
    cli: Application,
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
    client = cli.client()
    if unused:
        chosen = [e for e in client.get_environments() if e.n_models == 0 and e.status != "BUILDING"]
    else:
        chosen = [_find(client, key) for key in keys or []]
    removed = [client.remove_environment(e.key) for e in chosen]
    if format is Format.TABLE:
        size = sum(e.size_bytes or 0 for e in removed)
        terminal.say(f"Removed {values.count(len(removed), 'environment')} ({values.size(size)}).")
    else:
        put_rows(removed, _COLUMNS, format)


def _find(client: AdminClient, wanted: str) -> EnvironmentView:
    rows = client.get_environments()
    found = [row for row in rows if row.key.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidEnvironmentError(f"{wanted!r} begins the keys of {len(found)} environments. Write more of it.")
    raise InvalidEnvironmentError.not_found(
        f"There is no environment {wanted!r}. List them: `rafiki environment list`."
    )
